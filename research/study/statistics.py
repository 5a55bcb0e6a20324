"""Estimates with their uncertainty: bootstrap 95 % intervals over prompts, from scipy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.stats import bootstrap, rankdata

RESAMPLES = 1000
MEAN_RESAMPLES = 9999
FRECHET_RESAMPLES = 300


@dataclass(frozen=True)
class Estimate:
    """A figure from n prompts and its bootstrap 95 % interval; all NaN where there was nothing to estimate from."""

    value: float
    low: float
    high: float
    n: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


def mean(values: np.ndarray) -> Estimate:
    """The mean of values (n,), those that are NaN left out; interval of percentiles, none of a single one."""
    values = values[~np.isnan(values)].astype(float)
    if not len(values):
        return NOTHING
    value = float(values.mean())
    if len(values) == 1:
        return Estimate(value, np.nan, np.nan, 1)
    if np.ptp(values) == 0:
        return Estimate(value, value, value, len(values))
    return Estimate(value, *_interval(_bootstrapped((values,), np.mean, MEAN_RESAMPLES)), len(values))


def spearman(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Spearman's rank correlation of x and y (n,), pairs with a NaN left out; interval of percentiles."""
    whole = ~(np.isnan(x) | np.isnan(y))
    x, y = x[whole], y[whole]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return NOTHING
    found = _bootstrapped((x, y), _rank_correlation, paired=True)
    return Estimate(float(_rank_correlation(x, y)), *_interval(found), len(x))


def _rank_correlation(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Along an axis; 0 where all are equal, as can happen in a resample."""
    a, b = (rankdata(values, axis=axis) for values in (x, y))
    a, b = (ranks - ranks.mean(axis, keepdims=True) for ranks in (a, b))
    size = np.sqrt((a * a).sum(axis) * (b * b).sum(axis))
    together = (a * b).sum(axis)
    return np.where(size > 0, together / np.where(size > 0, size, 1), 0)


class Frechet:
    """Fréchet distances of clips' features to those of renders of the same prompts, both taken for Gaussian:

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). Prompts are resampled for clips and renders at once: which of them were
    drawn is the same for both, and no part of the distance. Few clips look farther away than they are, and resamples of
    them farther still: estimates are less the bias that the bootstrap finds, with its basic intervals, and most of the
    error is gone.
    """

    def __init__(self, reference: np.ndarray) -> None:
        """`reference`: (n, renders of a prompt, features)."""
        self.reference = reference

    def distance(self, features: np.ndarray) -> float:
        """Of (n, features), as it is."""
        return self._measure_of(np.arange(len(features)))(features)

    def estimate(self, features: np.ndarray) -> Estimate:
        return self._resampled(lambda which: self._measure_of(which)(features), len(features))

    def difference(self, features: np.ndarray, baseline: np.ndarray) -> Estimate:
        """How much farther `features` are than `baseline`, both (n, features)."""

        def farther(which: np.ndarray) -> float:
            measure = self._measure_of(which)
            return measure(features) - measure(baseline)

        return self._resampled(farther, len(features))

    def _measure_of(self, which: np.ndarray) -> Callable[[np.ndarray], float]:
        """The distance of these prompts' clips to their renders."""
        renders = self.reference[which].reshape(-1, self.reference.shape[-1])
        center, covariance = renders.mean(0), np.cov(renders, rowvar=False)
        values, vectors = eigh(covariance)
        root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

        def distance(features: np.ndarray) -> float:
            clips = features[which]
            spread = np.cov(clips, rowvar=False)
            # The root of the product by the eigenvalues of a symmetric matrix that is similar to it.
            shared = eigh(root @ spread @ root, eigvals_only=True)
            apart = np.square(clips.mean(0) - center).sum()
            return float(apart + np.trace(spread) + np.trace(covariance) - 2 * np.sqrt(shared.clip(min=0)).sum())

        return distance

    def _resampled(self, statistic: Callable[[np.ndarray], float], n: int) -> Estimate:
        return _over_prompts(statistic, n, FRECHET_RESAMPLES, corrected=True)


def crossing(shares: np.ndarray, level: float) -> Estimate:
    """Where the mean over n of curves (n, points) first reaches a level, in points, interpolated."""

    def first_reached(which: np.ndarray) -> float:
        curve = shares[which].mean(0)
        reached = np.flatnonzero(curve >= level)
        if not len(reached):
            return float(shares.shape[1] - 1)
        k = reached[0]
        return float(k if k == 0 else k - (curve[k] - level) / (curve[k] - curve[k - 1]))

    return _over_prompts(first_reached, len(shares), RESAMPLES, corrected=False)


def mean_difference(one: np.ndarray, other: np.ndarray) -> Estimate:
    """mean(one) - mean(other) of two independent sets, each resampled."""
    if min(len(one), len(other)) < 2:
        return NOTHING

    def apart(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(a.mean(axis) - b.mean(axis))

    return Estimate(float(apart(one, other)), *_interval(_bootstrapped((one, other), apart)), len(one) + len(other))


def _over_prompts(statistic: Callable[[np.ndarray], float], n: int, resamples: int, *, corrected: bool) -> Estimate:
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


def _bootstrapped(
    data: tuple[np.ndarray, ...],
    statistic: Callable[..., Any],
    resamples: int = RESAMPLES,
    method: str = "percentile",
    **options: bool,
) -> Any:
    """scipy's bootstrap, the same at every call."""
    return bootstrap(data, statistic, n_resamples=resamples, method=method, rng=np.random.default_rng(0), **options)


def _interval(found: Any) -> tuple[float, float]:
    """The 95 % interval of a bootstrap."""
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
