"""The search on a formula whose front is known, killed in the middle, and by several processes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.tuning.outcome import RULE, draw_front, held_out, outcome_of, spread_of
from bytheway.tuning.racing import front
from bytheway.tuning.search import JOURNAL, STARTUP, NoClipError, Search
from tests.tuning.hill import BEST_BETA, OBJECTIVES, SPACE, search_in, true_gains, values

ROOT = Path(__file__).parents[2]


def hypervolume(points: np.ndarray) -> float:
    """The area that points (n, 2) dominate above (0, 0)."""
    area, height = 0.0, 0.0
    for x, y in sorted(points.tolist(), reverse=True):
        area += x * max(0.0, y - height)
        height = max(height, y)
    return area


def whole_front() -> np.ndarray:
    alphas = np.linspace(0.3, 0.7, 41)
    return np.array([true_gains(ByTheWayConfig(alpha=alpha, beta=BEST_BETA)) for alpha in alphas])


def test_a_known_front_is_found_and_its_best_point_chosen(tmp_path: Path) -> None:
    search, clips = search_in(tmp_path, prompts=12)
    heard = []
    search.run(lambda: clips.spent() >= 400, lambda one, whole: heard.append(whole))
    found = outcome_of(search)
    assert len(found.tried) == len(heard) > STARTUP
    assert found.dropped == heard.count(False) > 0
    assert found.tried[0].config == ByTheWayConfig(anchor_block=None), "where the search begins is tried first"

    reached = hypervolume(np.array([true_gains(one.config) for one in found.front]))
    drawn = [one for one in found.tried if one.number <= STARTUP]
    assert reached > 0.97 * hypervolume(whole_front())
    assert reached > hypervolume(np.array([true_gains(one.config) for one in drawn]))

    whole = np.array([true_gains(one.config) for one in search.whole()])
    for one in found.tried:
        if len(one.gains) < 12:
            assert (whole >= true_gains(one.config)).all(1).any(), "only what another dominates was dropped"
            assert len(one.gains) == 6

    spread = spread_of(search.vanilla())
    best = (whole_front() / spread).min(1).max()
    assert (true_gains(found.chosen.config) / spread).min() > best - 0.05
    assert "least gain is greatest" in RULE
    assert found.chosen in found.front


def test_the_gain_on_held_out_prompts_and_the_picture(tmp_path: Path) -> None:
    search, clips = search_in(tmp_path)
    search.run(lambda: clips.spent() >= 36)
    found, preset = outcome_of(search), ByTheWayConfig()
    gain = held_out(clips, OBJECTIVES, range(100, 120), found.chosen.config, preset)
    truth, before = true_gains(found.chosen.config), true_gains(preset)
    for index, name in enumerate(OBJECTIVES):
        told = gain.over_vanilla[name]
        assert told.n == 20
        assert told.low - 0.02 <= truth[index] <= told.high + 0.02
        assert 0 < told.high - told.low < 0.05, "of pairs: from prompt to prompt clips differ by 1"
        assert gain.over_preset[name].value == pytest.approx(truth[index] - before[index], abs=0.03)
    np.testing.assert_allclose(spread_of(search.vanilla()), search.vanilla().std(0, ddof=1))
    draw_front(tmp_path / "front.png", found, OBJECTIVES)
    assert (tmp_path / "front.png").read_bytes()[:4] == b"\x89PNG"


def test_a_search_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    once, clips = search_in(tmp_path / "once")
    once.run(lambda: clips.spent() >= 80)
    for budget in (20, 45, 80):
        again, clips = search_in(tmp_path / "again")
        again.run(lambda budget=budget, clips=clips: clips.spent() >= budget)  # type: ignore[misc]
    made, again_made = ([(one.config, one.gains.tolist()) for one in search.tried()] for search in (once, again))
    assert made == again_made
    assert len(made) > STARTUP + 2, "with some that TPE has proposed"


def start(folder: Path, clips: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "tests.tuning.hill", str(folder), str(clips)], env=environment)


def made_in(folder: Path) -> list[list[str]]:
    file = folder / "made.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_killed_in_the_middle_and_gone_on_with(tmp_path: Path) -> None:
    process = start(tmp_path, 10_000)
    while len(made_in(tmp_path)) < 27:  # in the middle of the fourth trial
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code": 5, "worker')  # what a kill in the middle of a write would leave
    before = made_in(tmp_path)
    search, clips = search_in(tmp_path)
    done = {one.number for one in search.tried()}
    search.run(lambda: clips.spent() >= 60)
    keys = [key for key, _ in made_in(tmp_path)]
    assert len(keys) == len(set(keys)) == 60, "nothing was made twice"
    assert [key for key, _ in before] == keys[: len(before)]
    after = search.tried()
    assert done < {one.number for one in after}
    begun = {str(ByTheWayConfig.from_dict(one)) for one in configs_in(tmp_path)}
    unfinished = begun - {str(one.config) for one in after}
    assert len(unfinished) <= 1, "the trial that was killed was finished; the last one ran out of budget"


def configs_in(folder: Path) -> list[dict[str, object]]:
    import json

    found = [json.loads(path.read_text())["config"] for path in (folder / "values").glob("*.json")]
    return [config for config in found if config is not None]


def test_two_processes_share_one_journal(tmp_path: Path) -> None:
    both = [start(tmp_path, 60) for _ in range(2)]
    assert [process.wait(timeout=600) for process in both] == [0, 0]
    made = made_in(tmp_path)
    keys = [key for key, _ in made]
    assert len(keys) == len(set(keys)), "no clip was made by both"
    assert len({by for _, by in made}) == 2, "both made some"
    assert 60 <= len(keys) <= 61, "a clip more at most for each further process"
    search, clips = search_in(tmp_path)
    tried = search.tried()
    assert len({one.number for one in tried}) == len(tried)
    assert len({str(one.config) for one in tried}) == len(tried), "no two drew the same"
    for one in tried:
        expected = [values(one.config, prompt) - values(None, prompt) for prompt in range(len(one.gains))]
        np.testing.assert_allclose(one.gains, expected)
    search.run(lambda: clips.spent() >= 75)
    assert len(search.tried()) > len(tried), "and a third goes on"
    assert set(map(id, front(search.whole())))


def test_a_foreign_journal_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"some": "thing"}\n[1]\n')
    with pytest.raises(ByTheWayError, match="is damaged or no journal of a search; give another folder"):
        search_in(tmp_path)
    (tmp_path / JOURNAL).write_bytes(b"\x80\x04\x95 pickled\n\n")
    with pytest.raises(ByTheWayError, match="is damaged or no journal"):
        search_in(tmp_path)


def test_too_small_a_budget_is_said(tmp_path: Path) -> None:
    search, clips = search_in(tmp_path)
    search.run(lambda: clips.spent() >= 8)
    with pytest.raises(ByTheWayError, match="the budget is too small; go on in this folder"):
        outcome_of(search)


def test_configs_that_make_no_clip_are_left_out(tmp_path: Path) -> None:
    _, clips = search_in(tmp_path)

    def evaluate(config: ByTheWayConfig | None, prompt: int) -> Sequence[float]:
        if config is not None and config.alpha > 0.7:
            raise NoClipError("Its pixels are not finite.")
        return clips(config, prompt)

    search = Search(tmp_path, SPACE, OBJECTIVES, 6, evaluate, (ByTheWayConfig(),))
    said: list[str] = []
    search.run(lambda: clips.spent() >= 60, on_failure=lambda error: said.append(str(error)))
    assert set(said) == {"Its pixels are not finite."}
    assert all(one.config.alpha <= 0.7 for one in search.tried())

    def fail(config: ByTheWayConfig | None, prompt: int) -> Sequence[float]:
        if config is None:
            return clips(config, prompt)
        raise NoClipError("Nothing works.")

    with pytest.raises(ByTheWayError, match=r"Nothing works\."):
        Search(tmp_path / "other", SPACE, OBJECTIVES, 6, fail).run(lambda: False)


def test_configs_lie_in_the_space() -> None:
    class Given:
        """Suggests what it is given, and refuses what is out of range."""

        def __init__(self, place: dict[str, object]) -> None:
            self.place = place

        def suggest_float(self, name: str, low: float, high: float, **how: object) -> float:
            value = self.place[name]
            assert isinstance(value, float)
            assert low <= value <= high
            return value

        def suggest_int(self, name: str, low: int, high: int) -> int:
            value = self.place[name]
            assert isinstance(value, int)
            assert low <= value <= high
            return value

        def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> object:
            assert self.place[name] in choices
            return self.place[name]

    inside = ByTheWayConfig(alpha=0.35, beta=2.0, tau=5, active_steps=0.3, anchor_block="up_blocks.2")
    assert SPACE.suggest(Given(SPACE.place_of(inside))) == inside
    outside = ByTheWayConfig(alpha=0.123, beta=40.0, tau=20, active_steps=1.0, anchor_block="mid_block")
    nearest = ByTheWayConfig(alpha=0.12, beta=10.0, tau=7, active_steps=0.5)
    assert SPACE.suggest(Given(SPACE.place_of(outside))) == nearest
