"""Estimates, intervals and tests against figures worked out by other means."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, spearmanr

from bytheway.evaluation import statistics
from bytheway.evaluation.statistics import (
    NOTHING,
    Estimate,
    Outcomes,
    mean,
    mean_difference,
    more_votes,
    outcomes,
    over_persons_and_prompts,
    share,
    sign_test_power,
    spearman,
)

RNG = np.random.default_rng(1)


def test_a_mean_leaves_out_what_is_missing() -> None:
    found = mean(np.array([1.0, np.nan, 3.0, 2.0]))
    assert (found.value, found.n) == (2.0, 3)
    assert found.low < 2 < found.high
    assert mean(np.full(4, np.nan)) == NOTHING
    assert mean(np.full(5, 0.25)) == Estimate(0.25, 0.25, 0.25, 5)


def test_the_interval_of_a_mean_lies_about_it() -> None:
    found = mean(1 + 0.1 * np.random.default_rng(0).normal(size=200))
    assert 0.95 < found.low < found.value < found.high < 1.05
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(200), rel=0.1)
    assert np.isnan(mean(np.array([1.0])).low)


def test_differs_means_that_zero_is_left_out() -> None:
    values = RNG.normal(size=400)
    assert mean(values + 1).differs
    assert mean(values - 1).differs
    assert not mean(values - values.mean()).differs


def test_spearman_is_scipys_with_an_interval() -> None:
    x = RNG.normal(size=150)
    y = np.exp(x) + RNG.normal(size=150)
    found = spearman(np.append(x, np.nan), np.append(y, 0.0))
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    assert found.low < found.value < found.high
    assert found.n == 150
    ties = np.round(x)
    assert spearman(ties, y).value == pytest.approx(spearmanr(ties, y).statistic)
    assert spearman(np.ones(9), np.arange(9.0)) == NOTHING


def test_the_difference_of_two_sets() -> None:
    found = mean_difference(RNG.normal(size=300) + 2, RNG.normal(size=200))
    assert found.low < 2 < found.high
    assert found.n == 500


def test_clips_of_a_prompt_count_as_one_draw() -> None:
    """Five clips of each prompt that are all alike say no more than one clip of each."""
    values = RNG.normal(size=40)
    once = mean(values)
    repeated = mean(values.repeat(5), [f"prompt {k}" for k in range(40) for _ in range(5)])
    assert repeated == Estimate(pytest.approx(once.value), pytest.approx(once.low), pytest.approx(once.high), 40)
    alone = mean(values.repeat(5))
    assert alone.high - alone.low < 0.6 * (repeated.high - repeated.low)


def test_prompts_of_different_numbers_of_clips_weigh_by_their_clips() -> None:
    found = mean(np.array([1.0, 1.0, 1.0, 5.0, np.nan]), ["a", "a", "a", "b", "c"])
    assert (found.value, found.n) == (2.0, 2)
    assert (found.low, found.high) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(15, 30, 0.3315, 0.6685), (22, 30, 0.556, 0.858), (0, 30, 0, 0.114), (60, 100, 0.502, 0.691)],
)
def test_wilsons_interval(count: int, n: int, low: float, high: float) -> None:
    found = share(count, n)
    assert (found.value, found.n) == (count / n, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-4), pytest.approx(high, abs=6e-4))
    assert share(0, 0) == NOTHING


def test_outcomes_are_counted_with_what_is_missing_left_out() -> None:
    assert outcomes(np.array([0.5, 0.0, 5e-7, -5e-7, -0.1, np.nan, 2.0])) == Outcomes(wins=2, ties=3, losses=1)


def test_the_sign_test_needs_21_of_30() -> None:
    assert Outcomes(21, 0, 9).p_value < 0.05 < Outcomes(20, 0, 10).p_value
    assert Outcomes(21, 50, 9).p_value == Outcomes(9, 0, 21).p_value == Outcomes(21, 0, 9).p_value
    assert Outcomes(0, 4, 0).p_value == 1


@pytest.mark.parametrize(
    ("votes", "powers"),
    [(30, [0.18, 0.36, 0.59]), (100, [0.46, 0.83, 0.98]), (200, [0.79, 0.99, 1.0]), (400, [0.98, 1, 1])],
)
def test_power_of_the_sign_test(votes: int, powers: list[float]) -> None:
    found = [sign_test_power(votes, share) for share in (0.6, 0.65, 0.7)]
    assert found == pytest.approx(powers, abs=0.005)


def test_power_is_the_sum_over_the_outcomes_that_tell() -> None:
    for votes in (1, 5, 6, 17, 42):
        telling = [k for k in range(votes + 1) if Outcomes(k, 0, votes - k).p_value < 0.05]
        expected = sum(binom.pmf(k, votes, 0.7) for k in telling)
        assert sign_test_power(votes, 0.7) == pytest.approx(expected, abs=1e-12)


def test_how_many_more_votes_would_tell() -> None:
    more = more_votes(Outcomes(18, 2, 12))
    assert more is not None
    assert sign_test_power(30 + more, 0.6) >= 0.8
    assert sign_test_power(30 + more - 20, 0.6) < 0.8
    assert more_votes(Outcomes(12, 0, 18)) == more
    assert more_votes(Outcomes(25, 0, 5)) == 0
    assert more_votes(Outcomes(15, 9, 15)) is None
    assert more_votes(Outcomes(0, 3, 0)) is None
    assert more_votes(Outcomes(5001, 0, 5000)) is None, "so small a difference would take too many"


def test_votes_of_one_person_are_not_independent() -> None:
    """Every person has a taste of their own: twenty votes of each say little more than one."""
    tastes = np.random.default_rng(3).random(12)
    persons = [person for person in range(12) for _ in range(20)]
    prompts = [prompt for _ in range(12) for prompt in range(20)]
    votes = (np.random.default_rng(4).random(240) < tastes[persons]).astype(float)
    found = over_persons_and_prompts(votes, persons, prompts)
    assert found.value == votes.mean()
    assert found.n == 240
    naive = share(int(votes.sum()), 240)
    assert found.high - found.low > 2 * (naive.high - naive.low)
    by_person = mean(votes, persons)
    assert found.high - found.low > 0.95 * (by_person.high - by_person.low)


def test_votes_on_one_prompt_are_not_independent_either() -> None:
    """On every prompt nearly all prefer the same: twenty votes on each say little more than one."""
    tastes = np.random.default_rng(3).random(12)
    prompts = [prompt for prompt in range(12) for _ in range(20)]
    persons = [person for _ in range(12) for person in range(20)]
    votes = (np.random.default_rng(4).random(240) < tastes[prompts]).astype(float)
    found, naive = over_persons_and_prompts(votes, persons, prompts), share(int(votes.sum()), 240)
    assert found.high - found.low > 2 * (naive.high - naive.low)
    by_prompt = mean(votes, prompts)
    assert found.high - found.low > 0.95 * (by_prompt.high - by_prompt.low)


def test_several_votes_of_a_person_on_a_prompt_count_each() -> None:
    """As where a prompt has pairs of several seeds; the same votes twice tell no more than once."""
    votes = np.random.default_rng(6).random(80).round()
    persons, prompts = np.indices((10, 8)).reshape(2, -1).tolist()
    once, twice = (
        over_persons_and_prompts(votes, persons, prompts),
        over_persons_and_prompts(votes.repeat(2), np.repeat(persons, 2).tolist(), np.repeat(prompts, 2).tolist()),
    )
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert twice.n == 160


def test_the_interval_of_votes_covers_the_truth_as_often_as_it_says() -> None:
    """With tastes of persons and of prompts, in 19 of 20 studies or a few more."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(60):
        chance = 0.5 + 0.15 * rng.normal(size=(25, 1)) + 0.15 * rng.normal(size=(1, 25))
        votes = (rng.random((25, 25)) < chance).astype(float)
        rows, columns = np.indices((25, 25)).reshape(2, -1).tolist()
        found = over_persons_and_prompts(votes.ravel(), rows, columns)
        covered += found.low <= 0.5 <= found.high
    assert covered >= 54


def test_votes_of_one_person_have_no_interval() -> None:
    found = over_persons_and_prompts(np.array([1.0, 0.0]), ["a", "a"], ["x", "y"])
    assert found.value == 0.5
    assert np.isnan(found.low)
    assert over_persons_and_prompts(np.array([]), [], []) == NOTHING


def test_many_values_are_resampled_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of prompts do not fill the memory, and the interval is the same."""
    values = np.random.default_rng(1).normal(size=500)
    at_once: list[int] = []
    real = statistics.bootstrap

    def bootstrap(*arguments: Any, **options: Any) -> Any:
        at_once.append(options["batch"])
        return real(*arguments, **options)

    monkeypatch.setattr(statistics, "bootstrap", bootstrap)
    whole = statistics.mean(values)
    monkeypatch.setattr(statistics, "_AT_ONCE", 10_000)
    assert statistics.mean(values) == whole
    assert at_once[1] == 20
