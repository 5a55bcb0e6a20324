"""What the temporal attention maps of the recorded clips tell: disparity and structure, energy and motion, beta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bytheway.apply.steps import count_active
from bytheway.evaluation.statistics import Estimate, mean, mean_difference, spearman
from research.diorama.architecture import NUM_FRAMES
from research.study.plan import RECORDED_CLIPS
from research.study.results import Results
from research.study.sampling import Arrays
from research.study.variants import BOTH, EVERY_STEP, PAPER, VANILLA, Variant

STRUCTURE = "confidence"
MOTION = ("flow", "motion_range", "path")


@dataclass(frozen=True)
class BlockDisparity:
    """The disparity of one block to the anchor block, a mean over the active steps (the paper's Figures 2a and 2b).

    Attributes:
        with_broken, with_confidence: Spearman correlation over vanilla clips.
        good, bad: of the halves of the clips in which the judge is more and less confident of the subject.
        bad_less_good: their difference.
        after: of the maps that the model makes under the paper's settings.
        after_guidance: of the guided ones, those in use.
        change: `after` less that of vanilla, paired.
    """

    with_broken: Estimate
    with_confidence: Estimate
    good: Estimate
    bad: Estimate
    bad_less_good: Estimate
    after: Estimate
    after_guidance: Estimate
    change: Estimate


@dataclass(frozen=True)
class BlockGuidance:
    """The energy of one block under the paper's settings, means over the active steps (the paper's Figure 12).

    Attributes:
        made: of the maps as the model makes them.
        guided: of the guided ones, before they are amplified.
        gained: `guided` less `made`, paired.
        used: of the amplified ones, those in use.
        enough: share of the maps whose beta is the setting's own, which leaves no less energy than was there.
    """

    made: Estimate
    guided: Estimate
    gained: Estimate
    used: Estimate
    enough: Estimate


@dataclass(frozen=True)
class Attention:
    """Of one model, by block; arrays and lists run over the steps.

    Attributes:
        disparities: of the blocks that are guided.
        guidance: energies of these blocks; none where the paper's settings were not recorded.
        structure_by_step: Spearman correlation of disparity and confidence.
        energies: of the active steps, its mean.
        spreads: of that energy, the 5th and the 95th percentile over clips.
        with_motion: Spearman correlation of that energy with each measure of motion.
        motion_by_step: that of energy and flow.
        disparity_by_step: means (good half, bad half, under the paper's settings in their active steps).
        beta_by_step: mean beta where the paper's settings are on in all steps, else in their active ones.
    """

    n: int
    active: int
    disparities: dict[str, BlockDisparity]
    guidance: dict[str, BlockGuidance]
    structure_by_step: dict[str, list[Estimate]]
    energies: dict[str, Estimate]
    spreads: dict[str, tuple[float, float]]
    with_motion: dict[str, dict[str, Estimate]]
    motion_by_step: dict[str, list[Estimate]]
    disparity_by_step: dict[str, tuple[list[Estimate], list[Estimate], list[Estimate]]]
    beta_by_step: dict[str, list[Estimate]]


def analyse(results: Results, model: str) -> Attention | None:
    """None where no vanilla clips were recorded."""
    vanilla = _recorded(results, model, VANILLA)
    if not vanilla:
        return None
    both = _recorded(results, model, BOTH)
    disparity, energy = _by_block(vanilla, "disparity"), _by_block(vanilla, "energy")
    after = _by_block(both, "disparity") if both else {}
    steps = vanilla["energy"].shape[1]
    active = count_active(PAPER.active_steps, steps)
    confidence = vanilla[STRUCTURE]
    good = np.zeros(len(confidence), bool)
    good[np.argsort(-confidence, kind="stable")[: len(confidence) // 2]] = True
    betas = _recorded(results, model, EVERY_STEP) or both
    return Attention(
        n=len(confidence),
        active=active,
        disparities={
            block: _disparity(values[:, :active].mean(1), after.get(block), vanilla, both, good)
            for block, values in disparity.items()
        },
        guidance={block: _guidance(both, block) for block in after},
        structure_by_step={
            block: [spearman(values[:, step], confidence) for step in range(steps)]
            for block, values in disparity.items()
        },
        energies={block: mean(values[:, :active].mean(1)) for block, values in energy.items()},
        spreads={block: _percentiles(values[:, :active].mean(1)) for block, values in energy.items()},
        with_motion={
            block: {name: spearman(values[:, :active].mean(1), vanilla[name]) for name in MOTION}
            for block, values in energy.items()
        },
        motion_by_step={
            block: [spearman(values[:, step], vanilla["flow"]) for step in range(steps)]
            for block, values in energy.items()
        },
        disparity_by_step={
            block: (_over_steps(values[good]), _over_steps(values[~good]), _over_steps(after.get(block)))
            for block, values in disparity.items()
        },
        beta_by_step={block: _over_steps(values) for block, values in _by_block(betas, "beta").items()}
        if betas
        else {},
    )


def _disparity(
    before: np.ndarray, after: np.ndarray | None, vanilla: Arrays, both: Arrays, good: np.ndarray
) -> BlockDisparity:
    used = np.array([]) if after is None else after.mean(1)
    _, here, there = np.intersect1d(vanilla["number"], both.get("number", []), return_indices=True)
    return BlockDisparity(
        with_broken=spearman(before, vanilla["broken"]),
        with_confidence=spearman(before, vanilla[STRUCTURE]),
        good=mean(before[good]),
        bad=mean(before[~good]),
        bad_less_good=mean_difference(before[~good], before[good]),
        after=mean(used),
        after_guidance=mean((1 - PAPER.alpha) * used),
        change=mean(used[there] - before[here]),
    )


def energy_before_amplification(energy: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The energy of maps that have been amplified by beta to `energy`; it is not recorded.

    Rows of a map sum to 1. Only DC is in the low band of diorama's frames at the paper's tau, so that the band's energy
    is that of a flat map, and amplification has multiplied what is above by beta^2.
    """
    assert PAPER.tau == NUM_FRAMES // 2 - 1, "the low band has more than DC"
    flat = 1 / NUM_FRAMES
    return np.asarray(flat + (energy - flat) / beta**2)


def _guidance(both: Arrays, block: str) -> BlockGuidance:
    sites = both["sites"] == block
    made, used, beta = (both[name][..., sites].astype(float) for name in ("energy", "energy_after", "beta"))
    made, guided, used, enough = (
        values.mean((1, 2)) for values in (made, energy_before_amplification(used, beta), used, beta == PAPER.beta)
    )
    return BlockGuidance(mean(made), mean(guided), mean(guided - made), mean(used), mean(enough))


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (5, 95))
    return float(low), float(high)


def _over_steps(values: np.ndarray | None) -> list[Estimate]:
    return [] if values is None else [mean(values[:, step]) for step in range(values.shape[1])]


def _recorded(results: Results, model: str, variant: Variant) -> Arrays:
    """Records and readings of the same clips, the first 200; nothing where there are none."""
    records, readings = results.records(model, variant), results.clips(model, variant)
    if not records or not readings:
        return {}
    number, here, there = np.intersect1d(records.pop("number"), readings.pop("number"), return_indices=True)
    kept = number < RECORDED_CLIPS
    sites = records.pop("sites")
    chosen = {name: values[here[kept]] for name, values in records.items()}
    return (
        chosen
        | {name: values[there[kept]] for name, values in readings.items()}
        | {
            "number": number[kept],
            "sites": sites,
        }
    )


def _by_block(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """(clips, steps) for each block that has the measure, a mean over its sites, in running order."""
    blocks = {block: arrays[name][..., arrays["sites"] == block] for block in dict.fromkeys(arrays["sites"].tolist())}
    return {block: values.mean(-1) for block, values in blocks.items() if not np.isnan(values).any()}
