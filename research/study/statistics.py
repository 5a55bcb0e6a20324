"""Estimates of the study alone: Fréchet distances and crossings, with bootstrap 95 % intervals over prompts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh

from bytheway.evaluation.statistics import RESAMPLES, Estimate, over_prompts

FRECHET_RESAMPLES = 300


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
        return over_prompts(statistic, n, FRECHET_RESAMPLES, corrected=True)


def crossing(shares: np.ndarray, level: float) -> Estimate:
    """Where the mean over n of curves (n, points) first reaches a level, in points, interpolated."""

    def first_reached(which: np.ndarray) -> float:
        curve = shares[which].mean(0)
        reached = np.flatnonzero(curve >= level)
        if not len(reached):
            return float(shares.shape[1] - 1)
        k = reached[0]
        return float(k if k == 0 else k - (curve[k] - level) / (curve[k] - curve[k - 1]))

    return over_prompts(first_reached, len(shares), RESAMPLES, corrected=False)
