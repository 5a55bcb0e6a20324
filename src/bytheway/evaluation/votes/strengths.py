"""How strong each of several arms is, from who was preferred to whom: Bradley and Terry's model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bytheway.evaluation.statistics import LEVEL, RESAMPLES, Estimate
from bytheway.evaluation.votes.exclusions import CHOICES
from bytheway.evaluation.votes.store import Ballot
from bytheway.evaluation.votes.study import Study

_ROUNDS: Final = 500


def preferred_to_first(ballots: Sequence[Ballot], study: Study, question: str) -> dict[str, Estimate]:
    """For each arm but the first, how probable it is to be preferred to the first, by the votes on all pairs of arms.

    Bradley and Terry (Biometrika 1952), by maximum likelihood; ties are left out. The interval is a bootstrap over
    people. NaN where an arm was always or never preferred: then there is no such estimate.
    """
    arms = list(dict.fromkeys(arm for pair in study.pairs for arm in pair.arms))
    decided = [one for one in ballots if one.question == question and one.choice in CHOICES]
    people = list(dict.fromkeys(one.person for one in decided))
    wins = np.zeros((len(people), len(arms), len(arms)))
    for one in decided:
        first, second = (arms.index(arm) for arm in study.pairs[one.item.pair].arms)
        winner, loser = (first, second) if one.choice == "first" else (second, first)
        wins[people.index(one.person), winner, loser] += 1
    whole = wins.sum(0)
    if len(people) < 2 or not (whole.sum(0).all() and whole.sum(1).all()):
        return {arm: Estimate(np.nan, np.nan, np.nan, len(decided)) for arm in arms[1:]}
    drawn = np.random.default_rng(0).multinomial(len(people), [1 / len(people)] * len(people), RESAMPLES)
    values = _over_first(whole[None])[0]
    spread = np.quantile(_over_first(np.tensordot(drawn, wins, 1)), [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return {
        arm: Estimate(float(values[k]), float(spread[0, k]), float(spread[1, k]), len(decided))
        for k, arm in enumerate(arms)
        if k
    }


def _over_first(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(arm preferred to the first), (n, arms), from how often the arm of a row was preferred to that of a column.

    `wins`: n tables (n, arms, arms).
    Zermelo's iteration, which grows the likelihood in every round (Hunter, The Annals of Statistics 2004).
    """
    strength = np.ones(wins.shape[:2])
    met, won = wins + wins.swapaxes(1, 2), wins.sum(2)
    tiny = np.finfo(float).tiny
    for _ in range(_ROUNDS):
        strength = won / np.maximum((met / (strength[:, :, None] + strength[:, None, :] + tiny)).sum(2), tiny)
        strength /= np.maximum(strength.sum(1, keepdims=True), tiny)
    return np.asarray(strength / np.maximum(strength + strength[:, :1], tiny))
