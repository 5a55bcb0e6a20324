"""Estimates with their 95 % intervals: a bootstrap over prompts, Wilson's for shares; and exact sign tests."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bytheway.errors import ByTheWayError

try:
    from scipy.stats import binom, binomtest, bootstrap, rankdata
except ImportError as error:
    raise ByTheWayError("Figures with their uncertainty need scipy; install it (pip install scipy).") from error

Values: TypeAlias = NDArray[Any]

RESAMPLES: Final = 1000
MEAN_RESAMPLES: Final = 9999
FEW_PROMPTS: Final = 10
"""With fewer prompts than these a bootstrap interval is narrower than it should be."""
FEWEST_PROMPTS: Final = 6
"""From fewer nothing is told: even where all agree, a sign test at 5 % cannot."""
LEVEL: Final = 0.05
"""Of an interval and of a test: what is called a chance."""
EQUAL: Final = 1e-6
"""Scores that differ by no more are equal: float32 knows no better."""
_AT_ONCE: Final = 2**22
"""Resampled values that are in memory at once, 32 MiB of them."""
MOST_VOTES: Final = 20_000
"""More are never said to be needed; a difference so small is none that anybody would collect them for."""


@dataclass(frozen=True)
class Estimate:
    """A figure from n prompts and its 95 % interval; all NaN where there was nothing to estimate from."""

    value: float
    low: float
    high: float
    n: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


NOTHING: Final = Estimate(np.nan, np.nan, np.nan, 0)


@dataclass(frozen=True)
class Outcomes:
    """How often one of two was greater, how often both were equal, and how often it was less."""

    wins: int
    ties: int
    losses: int

    @property
    def p_value(self) -> float:
        """Of the exact two-sided sign test, ties left out: how often chance alone is as lopsided as this."""
        decided = self.wins + self.losses
        return float(binomtest(self.wins, decided).pvalue) if decided else 1.0


def mean(values: Values, prompts: Sequence[Hashable] | None = None) -> Estimate:
    """The mean of values (n,), those that are NaN left out, with a bootstrap interval of percentiles.

    Args:
        values: numbers, (n,).
        prompts: whose clips they are, (n,); prompts are resampled with all their clips, for clips of one prompt are not
            independent. None: each value is of a prompt of its own.

    Returns:
        The mean over values. Of a single prompt it has no interval.
    """
    present = ~np.isnan(values.astype(float))
    values = values[present].astype(float)
    if not len(values):
        return NOTHING
    value = float(values.mean())
    if prompts is None:
        groups = np.arange(len(values))
    else:
        kept = [prompt for prompt, there in zip(prompts, present, strict=True) if there]
        number = {prompt: index for index, prompt in enumerate(dict.fromkeys(kept))}
        groups = np.array([number[prompt] for prompt in kept])
    n = int(groups.max()) + 1
    if n == 1:
        return Estimate(value, np.nan, np.nan, 1)
    if np.ptp(values) == 0:
        return Estimate(value, value, value, n)
    if n == len(values):
        return Estimate(value, *_interval(_bootstrapped((values,), np.mean, MEAN_RESAMPLES)), n)
    sums, counts = np.bincount(groups, values), np.bincount(groups).astype(float)
    return Estimate(value, *_interval(_bootstrapped((sums, counts), _ratio, MEAN_RESAMPLES, paired=True)), n)


def _ratio(sums: Values, counts: Values, axis: int = -1) -> Values:
    return np.asarray(sums.sum(axis) / counts.sum(axis))


def spearman(x: Values, y: Values) -> Estimate:
    """Spearman's rank correlation of x and y (n,), pairs with a NaN left out; interval of percentiles."""
    whole = ~(np.isnan(x) | np.isnan(y))
    x, y = x[whole], y[whole]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return NOTHING
    found = _bootstrapped((x, y), _rank_correlation, paired=True)
    return Estimate(float(_rank_correlation(x, y)), *_interval(found), len(x))


def _rank_correlation(x: Values, y: Values, axis: int = -1) -> Values:
    """Along an axis; 0 where all are equal, as can happen in a resample."""
    a, b = (rankdata(values, axis=axis) for values in (x, y))
    a, b = (ranks - ranks.mean(axis, keepdims=True) for ranks in (a, b))
    size = np.sqrt((a * a).sum(axis) * (b * b).sum(axis))
    together = (a * b).sum(axis)
    return np.where(size > 0, together / np.where(size > 0, size, 1), 0)


def mean_difference(one: Values, other: Values) -> Estimate:
    """mean(one) - mean(other) of two independent sets, each resampled."""
    if min(len(one), len(other)) < 2:
        return NOTHING

    def apart(a: Values, b: Values, axis: int = -1) -> Values:
        return np.asarray(a.mean(axis) - b.mean(axis))

    return Estimate(float(apart(one, other)), *_interval(_bootstrapped((one, other), apart)), len(one) + len(other))


def over_prompts(statistic: Callable[[Values], float], n: int, resamples: int, *, corrected: bool) -> Estimate:
    """A statistic of the numbers of n prompts. Corrected: less its bias, with the basic interval; else percentiles."""
    if n < 2:
        return NOTHING
    everything = np.arange(n)
    method = "basic" if corrected else "percentile"
    found = _bootstrapped((everything,), statistic, resamples, vectorized=False, method=method)
    value = statistic(everything)
    if corrected:
        value -= float(found.bootstrap_distribution.mean()) - value
    return Estimate(value, *_interval(found), n)


def over_persons_and_prompts(values: Values, persons: Sequence[Hashable], prompts: Sequence[Hashable]) -> Estimate:
    """The mean of votes, with an interval by a bootstrap over persons and prompts at once.

    Votes of one person are not independent, nor are those on one prompt. Each resample draws persons and, on their own,
    prompts; a vote counts as often as its person was drawn times its prompt (the "pigeonhole" bootstrap: Owen,
    The Annals of Applied Statistics 2007).

    Args:
        values: a number for each vote, (n,), such as 1 for one arm, 0 for the other and 0.5 for a tie.
        persons: who gave it, (n,).
        prompts: on what it was given, (n,).

    Returns:
        The mean over votes; `n` is the number of votes. No interval where there is a single person or a single prompt.
    """
    if not len(values):
        return NOTHING
    value = float(values.mean())
    (rows, people), (columns, subjects) = _numbered(persons), _numbered(prompts)
    if min(people, subjects) < 2:
        return Estimate(value, np.nan, np.nan, len(values))
    sums, counts = np.zeros((people, subjects)), np.zeros((people, subjects))
    np.add.at(sums, (rows, columns), values)
    np.add.at(counts, (rows, columns), 1)
    rng = np.random.default_rng(0)
    drawn = [rng.multinomial(size, [1 / size] * size, MEAN_RESAMPLES) for size in (people, subjects)]
    total, weight = (((drawn[0] @ table) * drawn[1]).sum(1) for table in (sums, counts))
    low, high = np.quantile(total[weight > 0] / weight[weight > 0], [LEVEL / 2, 1 - LEVEL / 2])
    return Estimate(value, float(low), float(high), len(values))


def _numbered(names: Sequence[Hashable]) -> tuple[Values, int]:
    """A number from 0 on for each, the same for the same, and how many different ones there are."""
    number = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names]), len(number)


def means_of_groups(values: Values, groups: Sequence[Hashable]) -> Values:
    """The mean of the values (n,) of each group, (groups,), those that are NaN left out; a group of no others too."""
    present = ~np.isnan(values)
    numbers, _ = _numbered([group for group, there in zip(groups, present, strict=True) if there])
    if not len(numbers):
        return np.empty(0)
    return np.asarray(np.bincount(numbers, values[present]) / np.bincount(numbers))


def share(count: int, n: int) -> Estimate:
    """The share `count` / `n` of independent yes-or-no answers, with Wilson's interval, which is no point at 0 or n."""
    if not n:
        return NOTHING
    found = binomtest(count, n).proportion_ci(1 - LEVEL, method="wilson")
    return Estimate(count / n, float(found.low), float(found.high), n)


def outcomes(differences: Values) -> Outcomes:
    """How many differences (n,) are above zero, how many are equal to it, and how many are below; none of NaN."""
    present = differences[~np.isnan(differences)]
    above, below = int((present > EQUAL).sum()), int((present < -EQUAL).sum())
    return Outcomes(above, len(present) - above - below, below)


def sign_test_power(votes: int, true_share: float) -> float:
    """How probable it is that an exact two-sided sign test at 5 % finds a difference.

    Args:
        votes: decided ones, ties left out.
        true_share: of the votes for the one, if everybody were asked, in [0, 1].
    """
    # The most votes for the loser with which the test still tells: two tails of chance, 5 % together.
    most = int(binom.ppf(LEVEL / 2, votes, 0.5))
    while most >= 0 and 2 * binom.cdf(most, votes, 0.5) > LEVEL:
        most -= 1
    if most < 0:
        return 0.0
    return float(binom.cdf(most, votes, true_share) + binom.sf(votes - most - 1, votes, true_share))


def more_votes(found: Outcomes, power: float = 0.8) -> int | None:
    """How many more decided votes would tell, with that power, if the share seen so far is the true one.

    Returns:
        0 where the votes tell already, None where both have the same share of them or more than `MOST_VOTES` would be
        needed.
    """
    decided = found.wins + found.losses
    if decided and found.p_value < LEVEL:
        return 0
    if found.wins == found.losses:
        return None
    seen = found.wins / decided
    low, high = decided, max(2 * decided, 8)
    while sign_test_power(high, seen) < power:
        low, high = high, 2 * high
        if high > MOST_VOTES:
            return None
    # The power goes up in small steps and down in smaller ones: a few votes more or less do not matter.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if sign_test_power(middle, seen) >= power else (middle, high)
    return high - decided


def _bootstrapped(
    data: tuple[Values, ...],
    statistic: Callable[..., Any],
    resamples: int = RESAMPLES,
    method: str = "percentile",
    **options: bool,
) -> Any:
    """scipy's bootstrap, the same at every call; of many values a few resamples at once."""
    batch = max(1, min(resamples, _AT_ONCE // max(map(len, data))))
    rng = np.random.default_rng(0)
    return bootstrap(data, statistic, n_resamples=resamples, batch=batch, method=method, rng=rng, **options)


def _interval(found: Any) -> tuple[float, float]:
    """The 95 % interval of a bootstrap."""
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
