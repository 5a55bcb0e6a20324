"""Which pairs are asked about, and that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.judge.run import Asked, arms_of, pairs_of
from bytheway.evaluation.judge.summary import Judgement
from bytheway.evaluation.questions import QUESTIONS
from tests.toys.chat_server import ChatServer, Sent, always_a, prefers_brighter
from tests.toys.grey_experiments import PROMPTS, write_experiment

Ask = Callable[..., tuple[Asked, list[Judgement]]]


def test_every_pair_is_asked_about_in_both_orders(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    """A judge that likes light says so in both."""
    server.respond = prefers_brighter
    level = {"vanilla": 60, "enhanced": 160, "freeinit": 20}
    experiment = write_experiment(
        tmp_path / "trial", arms="vanilla,enhanced,freeinit", seeds=2, level=lambda arm, prompt, seed: level[arm] + seed
    )
    _, found = ask(experiment, concurrency=3)
    assert {(one.pair.prompt, one.pair.seed_index, one.pair.arms[1], one.verdict) for one in found} == {
        (prompt, k, arm, verdict)
        for prompt in PROMPTS
        for k in (0, 1)
        for arm, verdict in (("enhanced", "second"), ("freeinit", "first"))
    }
    assert all({said.answer for said in one.said} == {"A", "B"} for one in found)
    lights = [tuple(value > 100 for value in sent.brightness()) for sent in server.sent if max(sent.brightness()) > 100]
    assert sorted(lights) == [(False, True)] * 4 + [(True, False)] * 4


def test_what_was_answered_is_not_asked_again(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path / "trial")
    _, first = ask(experiment)
    assert len(server.sent) == 4
    _, again = ask(experiment)
    assert (again, len(server.sent)) == (first, 4)
    ask(experiment, questions=QUESTIONS)
    assert len(server.sent) == 12, "a new question is asked"
    ask(experiment, model="judge-2")
    assert len(server.sent) == 16, "and another model"
    path = experiment.clips(experiment.arms[1])[0]
    path.write_bytes(experiment.clips(experiment.arms[1])[1].read_bytes())
    ask(experiment)
    assert len(server.sent) == 18, "and what is about another clip"


def test_equal_clips_are_asked_about_once(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    _, (found,) = ask(write_experiment(tmp_path / "trial", PROMPTS[:1], level=lambda *_: 100), concurrency=2)
    assert len(server.sent) == 1, "both orders are the same"
    assert (found.answered, found.verdict) == (True, "tie")


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_calls_are_on_their_way_at_once(ask: Ask, server: ChatServer, tmp_path: Path, concurrency: int) -> None:
    lock, at_once, most = Lock(), [0], [0]

    def respond(sent: Sent) -> Any:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        found = prefers_brighter(sent)
        with lock:
            at_once[0] -= 1
        return found

    server.respond = respond
    ask(write_experiment(tmp_path / "trial", seeds=3), concurrency=concurrency)
    assert len(server.sent) == 12
    assert most[0] <= concurrency


def test_a_subset_is_the_same_every_time_and_of_every_arm(tmp_path: Path) -> None:
    prompts = tuple(f"prompt {n}" for n in range(6))
    experiment = write_experiment(tmp_path / "trial", prompts, arms="vanilla,enhanced,freeinit", seeds=2)
    arms = arms_of(experiment, None)

    def drawn(number: int | None) -> list[tuple[str, int]]:
        pairs, missing = pairs_of(experiment, arms, number)
        assert missing == []
        by_arm = [[(one.prompt, one.seed_index) for one in pairs if one.arms[1] == arm.name] for arm in arms]
        assert by_arm[0] == by_arm[1]
        return by_arm[0]

    everything = [(prompt, k) for prompt in prompts for k in range(2)]
    assert drawn(None) == drawn(100) == everything
    assert drawn(5) == drawn(5)
    assert len(drawn(5)) == 5
    assert set(drawn(2)) < set(drawn(5)), "more pairs are the earlier ones and others"
    assert drawn(5) != everything[:5]
    grown = write_experiment(tmp_path / "grown", (*prompts, "another"), seeds=2)
    subset = {(one.prompt, one.seed_index) for one in pairs_of(grown, arms_of(grown, None), 5)[0]}
    assert len(subset & set(drawn(5))) >= 3, "an experiment that grew has hardly another subset"


def test_pairs_that_cannot_be_judged_are_named(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path / "trial", seeds=2)
    vanilla, enhanced = (experiment.clips(arm) for arm in experiment.arms)
    enhanced[0].unlink()
    enhanced[1].write_bytes(b"no clip")
    save_video(np.zeros((9, 32, 32, 3), np.uint8), enhanced[2], 8.0, {"prompt": PROMPTS[1]})
    pairs, missing = pairs_of(experiment, arms_of(experiment, None), None)
    assert (len(pairs), missing) == (3, [f"{enhanced[0]} is missing."])
    asked, found = ask(experiment)
    assert [one.pair.paths for one in found] == [(vanilla[3], enhanced[3])]
    assert asked.left_out[0].startswith(str(enhanced[1]))
    assert asked.left_out[1] == (
        f"{vanilla[2]} has 16 frames of 32x32 pixels, 8 a second, and {enhanced[2]} 9 frames of 32x32 pixels, "
        "8 a second: they cannot be compared."
    )


def test_arms_by_name(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path / "trial", PROMPTS[:1], arms="vanilla,enhanced,alpha=0.4 beta=3")
    assert [arm.name for arm in arms_of(experiment, None)] == ["enhanced", "alpha=0.4 beta=3"]
    assert [arm.name for arm in arms_of(experiment, ["alpha=0.4 beta=3"])] == ["alpha=0.4 beta=3"]
    for name in ("vanilla", "freeinit"):
        with pytest.raises(ByTheWayError, match=f"There is no arm '{name}' to set against vanilla"):
            arms_of(experiment, [name])


def test_a_judge_that_always_says_a_is_all_ties(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    server.respond = always_a
    _, found = ask(write_experiment(tmp_path / "trial", seeds=2), questions=QUESTIONS)
    assert [one.verdict for one in found] == ["tie"] * 12
