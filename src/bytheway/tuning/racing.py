"""What gains of trials over vanilla clips tell: which fall behind, which are best, and which one is chosen.

Gains are differences to the vanilla clip of the same prompt and seed, in each objective, signed so that more is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bytheway.config import ByTheWayConfig
from bytheway.evaluation.statistics import FEWEST_PROMPTS, mean

Values: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Trial:
    """A config that was tried.

    Attributes:
        number: of the trial.
        config: the settings.
        gains: (prompts, objectives), of the first prompts of the search; of all, unless it was dropped.
    """

    number: int
    config: ByTheWayConfig
    gains: Values

    @property
    def mean(self) -> Values:
        """The mean gain in each objective, (objectives,)."""
        return np.asarray(self.gains.mean(0))


def rungs(prompts: int) -> tuple[int, ...]:
    """After how many prompts a trial may be dropped: the fewest that tell anything, and each time twice as many.

    >>> rungs(30)
    (6, 12, 24)
    """
    found, count = [], FEWEST_PROMPTS
    while count < prompts:
        found.append(count)
        count *= 2
    return tuple(found)


def falls_behind(gains: Values, rivals: Sequence[Values]) -> bool:
    """Whether a trial is no better than a rival in any objective, by the 95 % intervals of paired differences.

    Then the rival dominates it, but for chance, and it has no place in the front.

    Args:
        gains: (prompts, objectives), so far.
        rivals: the same of others, (prompts or more, objectives); those with fewer prompts do not count.
    """
    count = len(gains)
    for rival in rivals:
        if len(rival) < count:
            continue
        behind = gains - rival[:count]
        if (behind.mean(0) <= 0).all() and all(mean(one).high <= 0 for one in behind.T):
            return True
    return False


def front(trials: Sequence[Trial]) -> list[Trial]:
    """The Pareto front: those of which no other has more in one objective and no less in any, by their mean gains."""
    means = [one.mean for one in trials]
    return [
        one
        for one, own in zip(trials, means, strict=True)
        if not any((other >= own).all() and (other > own).any() for other in means)
    ]


def choose(best: Sequence[Trial], spread: Values) -> Trial:
    """The one of a front whose least gain is greatest: of it the objective that gains least gains most.

    Args:
        best: the front.
        spread: how much each objective varies from one vanilla clip to the next, the unit of its gains, (objectives,).
    """

    def least(one: Trial) -> tuple[float, float]:
        gains = one.mean / spread
        return float(gains.min()), float(gains.sum())

    return max(best, key=least)
