"""What calls cost, and that no call is made that could pass the limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from starlette.responses import JSONResponse

from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.judge.asking import Detail, requests, show
from bytheway.evaluation.judge.budget import Budget, Prices, estimated_tokens
from bytheway.evaluation.judge.results import spent
from bytheway.evaluation.judge.run import Asked
from bytheway.evaluation.judge.store import Store
from bytheway.evaluation.judge.summary import Judgement
from bytheway.evaluation.questions import QUESTIONS
from tests.toys.chat_server import ChatServer, Sent, answer, completion
from tests.toys.grey_experiments import PROMPTS, write_experiment

Ask = Callable[..., tuple[Asked, list[Judgement]]]
PRICES = Prices(2.0, 10.0)
EACH = (1000 * 2.0 + 20 * 10.0) / 1e6
FIRST = 16 * 3000 * 2.0 / 1e6  # the images of the first call, of which nobody knows how many tokens they are


def test_costs_are_those_of_the_tokens_that_the_server_counted(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    ask(write_experiment(tmp_path / "trial"), prices=PRICES)
    found = spent(Store(tmp_path / "calls.jsonl").lines)
    assert (found.calls, found.tokens_in, found.tokens_out, found.uncounted) == (4, 4000, 80, 0)
    assert found.cost == pytest.approx(4 * EACH)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_call_is_made_that_could_pass_the_limit(
    ask: Ask, server: ChatServer, tmp_path: Path, concurrency: int
) -> None:
    server.respond = lambda sent: completion(answer("A"), usage=(10_000, 20))
    each = PRICES.cost(10_000, 20)
    experiment = write_experiment(tmp_path / "trial", seeds=5)
    asked, found = ask(experiment, prices=PRICES, most=0.25, concurrency=concurrency)
    assert "raise the limit of 0.25 to go on" in (asked.stopped or "")
    text = max(len("".join(sent.texts).encode()) for sent in server.sent) + 300  # and the schema
    largest = PRICES.cost(10_000 + text, 50)  # what a call like the earlier ones could cost
    assert 0.25 - largest < len(server.answered) * each <= 0.25, "nor is it given up long before"
    made = len(server.sent)
    assert sum(one.answered for one in found) == made // 2
    ask(experiment, prices=PRICES, most=0.25)
    assert len(server.sent) == made, "what was spent before counts"
    asked, _ = ask(experiment, prices=PRICES, most=1, concurrency=concurrency)
    assert asked.stopped is None
    assert len(server.sent) == 2 * 5 * 2


def test_the_first_call_could_be_dear(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path / "trial", PROMPTS[:1])
    asked, _ = ask(experiment, prices=PRICES, most=FIRST)
    assert server.sent == []
    assert "0 is spent and the next call could cost up to 0.099" in (asked.stopped or "")
    asked, _ = ask(experiment, prices=PRICES, most=1.1 * FIRST)
    assert (asked.stopped, len(server.sent)) == (None, 2)


def test_the_second_request_of_a_call_counts_too(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    server.respond = lambda sent: completion("prose", usage=(48_000, 50))
    asked, found = ask(write_experiment(tmp_path / "trial", PROMPTS[:1]), prices=PRICES, most=0.15)
    assert len(server.sent) == 1
    assert asked.stopped is not None
    assert not found[0].answered


def test_replies_without_a_count_cost_what_was_set_aside(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    server.respond = lambda sent: completion(answer("A"), usage=None)
    experiment = write_experiment(tmp_path / "trial")
    asked, _ = ask(experiment, prices=PRICES, most=2.5 * FIRST)
    assert len(server.sent) == 2
    assert "is spent" in (asked.stopped or "")
    asked, _ = ask(experiment, prices=None)
    assert len(server.sent) == 4, "without prices nothing is reckoned"


def test_calls_without_prices_are_reckoned_later(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path / "trial")
    ask(experiment, number=1)
    asked, _ = ask(experiment, prices=PRICES, most=2 * EACH)
    assert len(server.sent) == 2
    assert f"{2 * EACH:.4g} is spent" in (asked.stopped or "")


def test_what_calls_cost_that_got_no_answer(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    """Nothing: what was set aside for them is free again."""
    failed: list[Sent] = []

    def respond(sent: Sent) -> Any:
        if len(failed) < 2:
            failed.append(sent)
            return JSONResponse({"error": {"message": "no"}}, 500)
        return completion(answer("A"))

    server.respond = respond
    asked, _ = ask(write_experiment(tmp_path / "trial"), prices=PRICES, most=1.2 * FIRST)
    assert (asked.stopped, len(asked.unanswered), len(server.sent)) == (None, 2, 4)


def test_tokens_are_estimated_as_gpt_4o_counts_them(tmp_path: Path) -> None:
    """85 an image at low detail, and at high detail 765 for a square one."""
    clip = save_video(np.zeros((2, 256, 256, 3), np.uint8), tmp_path / "a.mp4")
    each = []
    for detail in get_args(Detail)[:2]:
        shown = show(clip, 2, detail)
        request, _ = requests("m", "p", QUESTIONS[0], shown, shown, detail)
        each.append((estimated_tokens(request, shown, shown, detail)[0] - request.text_bytes // 4) / 4)
    assert each == [85, 765]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Prices(-1, 1), "A price is a number of at least 0"),
        (lambda: Prices(1, float("nan")), "A price is a number of at least 0"),
        (lambda: Budget(None, 1.0, 10, []), "A limit of the cost requires the prices"),
        (lambda: Budget(PRICES, 0.0, 10, []), "The limit of the cost must be above 0"),
        (lambda: Budget(PRICES, float("nan"), 10, []), "The limit of the cost must be above 0"),
    ],
)
def test_what_cannot_be(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        make()
