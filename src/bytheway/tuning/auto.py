"""The settings that a model's own maps ask for, with the reasons in sentences; `derive` has the mathematics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bytheway.config import AUTO_SETTINGS, AutoConfig, ByTheWayConfig
from bytheway.diagnosis.curves import Curves
from bytheway.errors import ByTheWayError
from bytheway.tuning.derive import guided_energy, largest_alpha, least_squared_distance, wanted_beta, widest_tau

MOST_ALPHA: Final = 0.6
"""The paper's for AnimateDiff, whose anchor is broad; nothing is known of more."""
BETTER: Final = 0.1
"""By so much more guidance must another anchor allow to be preferred to the preset's. Ours, of no study."""
LIVELY: Final = 0.9
"""Quantile of the energies of vanilla clips that the median clip is to reach. Ours, of no study."""
FEWEST_CLIPS: Final = 4


@dataclass(frozen=True)
class GuidedBlock:
    """What is known of one block, means over clips and active steps.

    Attributes:
        energy: E(A) of its maps.
        distance: least d² to the anchor's.
        alpha: the strongest guidance that adds no energy.
    """

    energy: float
    distance: float
    alpha: float


@dataclass(frozen=True)
class AutoSettings:
    """Settings with their reasons.

    Attributes:
        config: to be used.
        blocks: what each guided block was like under the chosen anchor.
        reasons: a sentence for each setting, by its name.
    """

    config: ByTheWayConfig
    blocks: Mapping[str, GuidedBlock]
    reasons: Mapping[str, str]


def auto_settings(
    by_anchor: Mapping[str, Sequence[Curves]],
    num_frames: int,
    preset: ByTheWayConfig,
    auto: Collection[str] = AUTO_SETTINGS,
) -> AutoSettings:
    """The settings for a model, from the first steps of vanilla clips.

    Args:
        by_anchor: the same clips' curves with each block that could be the anchor, the preset's first.
        num_frames: F, the frames that an attention sees.
        preset: what is not derived is taken from it.
        auto: what is derived; the rest is derived for what the preset says of the others.

    Raises:
        ByTheWayError: there are too few clips, nothing is guided, or beta is to be derived for a narrower band than
            everything but the mean, of whose energy records do not tell.
    """
    widest = widest_tau(num_frames)
    if "beta" in auto and "tau" not in auto and preset.tau < widest:
        raise ByTheWayError(
            f"beta cannot be auto with tau {preset.tau}: it is found for a band of everything but the mean, which is "
            f"tau {widest} or more for {num_frames} frames; leave tau to the model as well, or give a beta."
        )
    clips = next(iter(by_anchor.values()))
    if len(clips) < FEWEST_CLIPS:
        raise ByTheWayError(f"{len(clips)} clips say too little of a model; record {FEWEST_CLIPS} or more.")
    usual = next(iter(by_anchor))
    chosen_from = by_anchor if "anchor_block" in auto else {usual: clips}
    blocks = {anchor: _guided_blocks(curves, num_frames, preset) for anchor, curves in chosen_from.items()}
    allowed = {anchor: min((one.alpha for one in its.values()), default=0.0) for anchor, its in blocks.items()}
    anchor, why_anchor = _anchor(allowed)
    alpha = min(MOST_ALPHA, allowed[anchor]) if "alpha" in auto else preset.alpha
    betas = _betas(by_anchor[anchor], blocks[anchor], alpha, num_frames)
    beta = min(betas.values())
    found = preset.replace(
        alpha=round(alpha, 2),
        beta=round(beta, 2),
        tau=widest,
        anchor_block=preset.anchor_block if anchor == usual else anchor,
    )
    tightest = min(blocks[anchor], key=lambda name: blocks[anchor][name].alpha)
    least = min(betas, key=lambda name: betas[name])
    reasons = {
        "anchor_block": why_anchor,
        "alpha": f"Guidance adds no energy to {tightest} up to alpha {allowed[anchor]:.2f}"
        + (f"; more than {MOST_ALPHA:g}, the paper's, is not taken." if allowed[anchor] > MOST_ALPHA else "."),
        "beta": f"Beta {beta:.2f} brings the median clip's maps of {least} to the energy of the livelier clips of this "
        f"model ({LIVELY:.0%} quantile of {len(clips)}); in the other blocks it leaves them below.",
        "tau": f"Everything but the mean over the {num_frames} frames is amplified, as in the paper.",
    }
    names = tuple(name for name in reasons if name in auto)
    config = AutoConfig(preset, names).with_found(found)
    return AutoSettings(config, blocks[anchor], {name: reasons[name] for name in names})


def _guided_blocks(clips: Sequence[Curves], num_frames: int, preset: ByTheWayConfig) -> dict[str, GuidedBlock]:
    """Every block behind the anchor that is guided."""
    anchor = clips[0].anchor
    if anchor is None:
        return {}
    of_anchor = _mean(clips, "energy", anchor)
    found = {}
    for block in clips[0].guided:
        if preset.guided_blocks is not None and block not in preset.guided_blocks:
            continue
        energy = _mean(clips, "energy", block)
        distance = least_squared_distance(_mean(clips, "disparity", block), num_frames)
        found[block] = GuidedBlock(energy, distance, largest_alpha(energy, of_anchor, distance))
    return found


def _anchor(allowed: Mapping[str, float]) -> tuple[str, str]:
    """The anchor that is chosen, and why: the preset's, unless another allows clearly more guidance."""
    usual = next(iter(allowed))
    best = max(allowed, key=lambda name: allowed[name])
    most = min(MOST_ALPHA, allowed[best])
    if most < allowed[usual] + BETTER:
        return usual, f"{usual}, the preset's: no other block allows clearly more guidance."
    return best, (
        f"{best} in place of {usual}: guidance towards it adds no energy up to alpha {allowed[best]:.2f}, towards the "
        f"other up to {allowed[usual]:.2f}."
    )


def _betas(
    clips: Sequence[Curves], guided: Mapping[str, GuidedBlock], alpha: float, num_frames: int
) -> dict[str, float]:
    """For each block that is amplified, the beta that brings its median clip to the livelier ones."""
    anchor = clips[0].anchor
    if anchor is None or not guided:
        raise ByTheWayError("Nothing is guided in this model: no block with temporal attention runs after another.")
    of_anchor = _mean(clips, "energy", anchor)
    found = {}
    for block in (anchor, *guided):
        energies = [float(one.energy[block].mean()) for one in clips]
        median, lively = float(np.median(energies)), float(np.quantile(energies, LIVELY))
        if block in guided:
            median = guided_energy(median, of_anchor, guided[block].distance, alpha)
        found[block] = wanted_beta(median, lively, num_frames)
    return found


def _mean(clips: Sequence[Curves], name: str, block: str) -> float:
    return float(np.mean([getattr(one, name)[block].mean() for one in clips]))
