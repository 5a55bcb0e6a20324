"""What a search has found: the front as a picture, the point that is chosen, and its gain on prompts it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.evaluation.statistics import Estimate, mean
from bytheway.files import written
from bytheway.tuning.racing import Trial, Values, choose, front
from bytheway.tuning.search import Evaluate, Search

RULE: Final = "of the front the one whose least gain is greatest, in units of the spread of vanilla clips over prompts"
_DROPPED, _WHOLE, _FRONT, _CHOSEN = "#c3ced6", "#9db8cc", "#1b6ca8", "#b0483a"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search has found.

    Attributes:
        tried: every trial.
        front: the best, none of which is better than another in everything.
        chosen: one of them, by `RULE`.
        dropped: how many were not tried on all prompts.
    """

    tried: Sequence[Trial]
    front: Sequence[Trial]
    chosen: Trial
    dropped: int


@dataclass(frozen=True)
class HeldOut:
    """What the chosen config gains on held-out prompts, in each objective: paired differences, with intervals.

    Attributes:
        over_vanilla: to clips without the method.
        over_preset: to clips with the preset of the model.
    """

    over_vanilla: Mapping[str, Estimate]
    over_preset: Mapping[str, Estimate]


def outcome_of(search: Search) -> Outcome:
    """What there is to be told of a search.

    Raises:
        ByTheWayError: no trial was tried on all prompts.
    """
    tried = search.tried()
    whole = [one for one in tried if len(one.gains) == search.prompts]
    if not whole:
        raise ByTheWayError(
            "No trial was tried on all prompts, the budget is too small; go on in this folder with a larger one.",
            setting="budget",
        )
    best = front(whole)
    return Outcome(tried, best, choose(best, spread_of(search.vanilla())), len(tried) - len(whole))


def spread_of(vanilla: Values) -> Values:
    """The unit of each objective's gains, (objectives,): the standard deviation over prompts; 1 where all are alike."""
    spread = vanilla.std(0, ddof=1)
    return np.where(spread > 0, spread, 1.0)


def held_out(
    evaluate: Evaluate,
    objectives: Sequence[str],
    prompts: Sequence[int],
    chosen: ByTheWayConfig,
    preset: ByTheWayConfig,
) -> HeldOut:
    """What a config gains on other prompts than it was chosen by.

    Args:
        evaluate: as in a `Search`.
        objectives: their names.
        prompts: the numbers of the held-out ones.
        chosen: the config.
        preset: of the model.
    """
    by_config = [
        np.array([evaluate(config, prompt) for prompt in prompts], dtype=float) for config in (None, preset, chosen)
    ]
    vanilla, usual, best = by_config
    return HeldOut(
        {name: mean(gains) for name, gains in zip(objectives, (best - vanilla).T, strict=True)},
        {name: mean(gains) for name, gains in zip(objectives, (best - usual).T, strict=True)},
    )


def draw_front(path: Path, found: Outcome, objectives: Sequence[str]) -> None:
    """Gains of all trials over vanilla clips, a panel for each two objectives; vanilla is where the lines cross.

    Raises:
        ByTheWayError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ByTheWayError("Pictures need matplotlib; install it (pip install matplotlib).") from error
    pairs = list(combinations(range(len(objectives)), 2))
    figure = Figure(figsize=(1.0 + 4.2 * len(pairs), 4.4), layout="constrained")
    prompts = len(found.chosen.gains)
    dropped = [one for one in found.tried if len(one.gains) < prompts]
    others = [one for one in found.tried if len(one.gains) == prompts and one not in found.front]
    for panel, (x, y) in zip(np.ravel(figure.subplots(1, len(pairs))), pairs, strict=True):
        for some, colour, label in (
            (dropped, _DROPPED, "dropped early"),
            (others, _WHOLE, "on all prompts"),
            (list(found.front), _FRONT, "front"),
        ):
            _dots(panel, some, x, y, color=colour, label=f"{label} ({len(some)})", s=22)
        _dots(panel, [found.chosen], x, y, color=_CHOSEN, label="chosen", s=110, marker="*", zorder=3)
        panel.axhline(0, color="grey", linewidth=0.8)
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.set(xlabel=f"gain in {objectives[x]}", ylabel=f"gain in {objectives[y]}")
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.tick_params(labelsize=8)
        panel.legend(fontsize=8)
    figure.suptitle(f"Mean gains over vanilla clips of {prompts} prompts", fontsize=11)
    with written(path) as draft:
        figure.savefig(draft, dpi=130)


def _dots(panel: Any, some: Sequence[Trial], x: int, y: int, **look: Any) -> None:
    if some:
        panel.scatter([one.mean[x] for one in some], [one.mean[y] for one in some], **look)
