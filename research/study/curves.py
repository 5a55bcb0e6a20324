"""The curves of the swapped prompts: what a clip shows, by the number of steps before the prompt changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bytheway.evaluation.statistics import Estimate, mean
from research.diorama.judge import FACTORS, labels_of
from research.study.results import Results
from research.study.statistics import crossing
from research.study.swap import prompt_pairs

TRACK = "track"


@dataclass(frozen=True)
class Curve:
    """Of one attribute, over the pairs in which it is read right at both ends; `track`: over all pairs.

    Attributes:
        first: share of the clips that show what the first prompt says, by steps before the swap (steps + 1).
        second: share of those that show what the second one says.
        decided: after how many steps half of the clips show what the first one says.
    """

    n: int
    first: list[Estimate]
    second: list[Estimate]
    decided: Estimate


def curves(results: Results, model: str) -> dict[str, Curve]:
    """By attribute; none where no prompts were swapped.

    `track` is no attribute: it counts clips whose subject moves along nearer to where it is in the clip made by the
    first prompt alone, in the mean over frames, than to where it is in the second one's.
    """
    swaps = results.swaps(model)
    if not swaps:
        return {}
    pairs = prompt_pairs(int(swaps["number"].max()) + 1, results.sampling.seed)
    chosen = [pairs[number] for number in swaps["number"]]
    first, second = (labels_of([pair[side][0] for pair in chosen]).numpy() for side in (0, 1))
    found = {}
    for column, name in enumerate(FACTORS):
        seen = swaps["labels"][..., column]
        as_first, as_second = seen == first[:, column, None], seen == second[:, column, None]
        found[name] = _curve(as_first, as_second, as_first[:, -1] & as_second[:, 0])
    centre = swaps["centre"].astype(float)
    to_second, to_first = (np.linalg.norm(centre - centre[:, [end]], axis=-1).mean(-1) for end in (0, -1))
    found[TRACK] = _curve(to_first < to_second, to_second < to_first, np.ones(len(centre), bool))
    return found


def _curve(as_first: np.ndarray, as_second: np.ndarray, which: np.ndarray) -> Curve:
    first, second = (shown[which].astype(float) for shown in (as_first, as_second))
    steps = range(first.shape[1])
    return Curve(
        n=int(which.sum()),
        first=[mean(first[:, k]) for k in steps],
        second=[mean(second[:, k]) for k in steps],
        decided=crossing(first, 0.5),
    )
