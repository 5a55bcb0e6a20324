"""Who falls behind, who is in the front, and who is chosen: on gains that are made up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bytheway.config import ByTheWayConfig
from bytheway.tuning.racing import Trial, choose, falls_behind, front, rungs

POINTS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=12)


def trial(*gains: float) -> Trial:
    return Trial(0, ByTheWayConfig(), np.array([gains, gains], dtype=float))


def noisy(mean: tuple[float, float], prompts: int, seed: int = 0) -> np.ndarray:
    return np.array(mean) + np.random.default_rng(seed).normal(scale=0.1, size=(prompts, 2))


@given(POINTS)
def test_the_front_is_what_nobody_dominates(points: list[tuple[int, ...]]) -> None:
    some = [trial(*point) for point in points]
    best = front(some)
    assert best
    for one in some:
        better = [two for two in some if (two.mean >= one.mean).all() and (two.mean > one.mean).any()]
        assert (one in best) == (not better)
        assert one in best or any(two in best for two in better), "what is not in it, one of it dominates"


def test_a_trial_falls_behind_only_where_it_is_worse_in_everything() -> None:
    rival = noisy((0.5, 0.5), 12)
    assert falls_behind(noisy((0.0, 0.0), 6, 1), [rival])
    assert not falls_behind(noisy((0.0, 1.0), 6, 1), [rival]), "better in one"
    assert not falls_behind(noisy((0.45, 0.45), 6, 1), [rival]), "by chance, for all that six prompts tell"
    assert not falls_behind(noisy((0.0, 0.0), 12, 1), [rival[:6]]), "the rival has not been so far"
    assert falls_behind(rival[:6], [rival]), "the same config twice is one too many"
    assert falls_behind(noisy((0.0, 0.0), 6, 1), [noisy((-1.0, 1.0), 12), rival]), "one that dominates is enough"


def test_equal_trials_seldom_fall_behind() -> None:
    dropped = sum(falls_behind(noisy((0, 0), 6, 2 * k), [noisy((0, 0), 6, 2 * k + 1)]) for k in range(200))
    assert dropped <= 4, "2.5 % for each of two objectives at once"


def test_the_least_gain_in_units_of_the_spread_decides() -> None:
    steady, lively, between = trial(3.0, 0.1), trial(0.1, 3.0), trial(1.0, 1.0)
    assert choose([steady, lively, between], np.ones(2)) is between
    assert choose([steady, lively, between], np.array([100.0, 0.01])) is steady, (
        "0.03 and 10; 0.001 and 300; 0.01 and 100"
    )
    assert choose([trial(-1.0, -2.0), trial(-1.5, -1.5)], np.ones(2)).mean.tolist() == [-1.5, -1.5]


def test_checks_begin_where_something_can_be_told() -> None:
    assert rungs(6) == ()
    assert rungs(7) == (6,)
    assert rungs(25) == (6, 12, 24)
