"""Medians and spreads of interleaved rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """A median with the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of values, of which there is one at least."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def ratio(values: Sequence[float], vanilla: Sequence[float]) -> Spread:
    """The spread of the ratios to vanilla, each of one round: a slow moment of the machine is in both."""
    return spread([value / base for value, base in zip(values, vanilla, strict=True)])
