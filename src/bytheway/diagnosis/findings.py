"""What records tell, in plain sentences: the numbers, the limit they are held against, where that limit comes from.

Every topic has one finding, also where there is nothing to find. Limits are read off the paper's figures or off our own
study of the models that were packaged in November 2026, and each says which; for others they are a place to begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final, Literal, TypeAlias

from bytheway.diagnosis.curves import Curves
from bytheway.diagnosis.fit import Fit
from bytheway.diagnosis.prediction import predict
from bytheway.diagnosis.schedule import ActiveNoise

Topic: TypeAlias = Literal["anchor", "motion", "structure", "parting", "beta", "schedule"]

# Times the energy of a guided block. Between maps that are about alike, where guidance takes energy as in the paper's
# Figure 12, and the smallest ratio at which our study saw it add energy (diorama-early: 0.24 over 0.106, 2.3 times).
SHARPER: Final = 1.5
# Times the energy of a flat map, 1 / F. The paper's Figure 2c, of AnimateDiff's 16 frames, is a line from an energy of
# 0.10 at a RAFT magnitude of 0 to 0.22 at 6; at 0.5 it is 0.11.
NEAR_STATIC: Final = 0.11 * 16
# Times the usual disparity. The paper's Figure 2a: at the end corrupted clips lie a third above good ones.
APART: Final = 4 / 3
# Clips whose median is a usual disparity.
FEWEST_FOR_USUAL: Final = 4
# Relative; a beta that is no more above its least value has not adapted: rounding.
ADAPTED: Final = 1e-3
# Share of blocks and steps; in fewer the adaptive rule is as good as off (our own limit, of no study).
SELDOM: Final = 0.05
# log-SNR in the last active step, see `ActiveNoise`. Swapped prompts in our study (25 steps, 8x8 latents, 32 pairs):
# under a schedule with -4.1 there, the first prompt decided 78 to 100 % of subject, colour, setting and motion; under
# one with -8.3, 0 to 9 %.
DECIDED: Final = -4.1
UNDECIDED: Final = -8.3


@dataclass(frozen=True)
class Finding:
    """One thing that records tell.

    Attributes:
        topic: what it is about.
        found: whether it is worth a change; False: nothing is wrong there, or nothing tells.
        sentence: the numbers and the limit.
        evidence: where the limit comes from, and how far it goes.
        advice: what to try; None where nothing was found.
    """

    topic: Topic
    found: bool
    sentence: str
    evidence: str
    advice: str | None = None


def diagnose(
    clips: Sequence[Curves],
    *,
    least_beta: float | None,
    num_frames: int,
    noise: ActiveNoise | None = None,
    fit: Fit | None = None,
) -> list[Finding]:
    """A finding on each topic.

    Args:
        clips: curves of the active steps of one model's clips, at least one.
        least_beta: the beta of the config; None where the method was off.
        num_frames: F, of the maps; a clip's latent frames where its autoencoder compresses time.
        noise: of the active steps.
        fit: of the model under the same settings.
    """
    return [
        _anchor(clips),
        _motion(clips, num_frames, fit),
        _structure(clips, fit),
        _parting(clips),
        _beta(clips, least_beta),
        _schedule(noise),
    ]


def _anchor(clips: Sequence[Curves]) -> Finding:
    evidence = (
        "Our study of November 2026 (diorama, 512 prompts): under an anchor with the energy 0.76 over 0.24 and 0.11, "
        "guidance cost 5.55 px [5.10, 5.98] of motion range; in diorama-early, 0.24 over 0.11 and 0.08, 1.45 px. The "
        "paper's Figure 12 has guidance take energy, which a sharper anchor gives."
    )
    anchor = clips[0].anchor
    if anchor is None:
        return Finding("anchor", False, "No block guides others here, so that no anchor can be too sharp.", evidence)
    own = _energy(clips, anchor)
    others = {block: _energy(clips, block) for block in clips[0].guided}
    ratio = own / min(others.values())
    listed = ", ".join(f"{value:.3f} in {block}" for block, value in others.items())
    numbers = f"energy {own:.3f} in {anchor}, {listed}: up to {ratio:.1f} times, the limit is {SHARPER:g}"
    if ratio <= SHARPER:
        return Finding("anchor", False, f"The anchor is about as sharp as what it guides ({numbers}).", evidence)
    return Finding(
        "anchor",
        True,
        f"The anchor is sharper than what it guides ({numbers}); what follows a few of its frames moves less.",
        evidence,
        'Guide less (alpha), take the edge off the anchor (head_rule "mean"), or choose another anchor_block.',
    )


def _motion(clips: Sequence[Curves], num_frames: int, fit: Fit | None) -> Finding:
    advice = "Amplify more (beta), or choose among seeds (the best of 4, by motion)."
    fitted = None if fit is None else fit.predictors.get("near_static")
    if fit is not None and fitted is not None:
        chances = [predict(curves, fit).near_static or 0.0 for curves in clips]
        count = sum(chance >= 0.5 for chance in chances)
        said = f"of near-static clips {fmean(chances):.0%} are expected"
        evidence = f"The fit of this model on {fit.clips} clips: {fitted.measure}, {fitted.skill}, cross-validated."
    else:
        limit = NEAR_STATIC / num_frames
        energies = [fmean(float(curves.energy[block].mean()) for block in curves.guided) for curves in clips]
        count = sum(energy < limit for energy in energies)
        said = (
            f"the energy of the guided blocks is {_span(energies, '.3f')}, the limit is {limit:.3f}, "
            f"{limit * num_frames:.2f} times that of a flat map of {num_frames} frames"
        )
        evidence = (
            "The paper's Figure 2c: over AnimateDiff's clips of 16 frames the energy grows along a line from 0.10 to "
            "0.22 with the RAFT magnitude from 0 to 6; the limit is that line at 0.5. It was read off a figure, and is "
            "not of this model: bytheway inspect MODEL --clips 32 fits one that is."
        )
    if not count:
        return Finding("motion", False, f"No clip is likely near-static: {said}.", evidence)
    return Finding("motion", True, f"{_count(count, clips)} likely near-static: {said}.", evidence, advice)


def _structure(clips: Sequence[Curves], fit: Fit | None) -> Finding:
    evidence = (
        "The paper's Figure 2a: at the end the disparity of corrupted clips lies a third above that of good ones. Our "
        "study of November 2026 found less: Spearman's rho with confidence -0.31 [-0.44, -0.19] in one of diorama's "
        "blocks, none in the other."
    )
    blocks = tuple(clips[0].disparity)
    if not blocks:
        return Finding("structure", False, "No disparity is recorded here, and nothing else tells.", evidence)
    usual = {} if fit is None else {b: fit.usual.get(f"last disparity of {b}") for b in blocks}
    known = {block: value for block, value in usual.items() if value}
    source = f"that of the {fit.clips} clips of the fit" if known and fit is not None else "the median of these clips"
    if not known and len(clips) >= FEWEST_FOR_USUAL:
        known = {block: median(float(curves.disparity[block][-1]) for curves in clips) for block in blocks}
    known = {block: value for block, value in known.items() if value > 0}
    if not known:
        return Finding(
            "structure",
            False,
            f"Whether the disparity is unusual needs {FEWEST_FOR_USUAL} clips or a fit to hold it against.",
            evidence,
        )
    ratios = [max(float(curves.disparity[block][-1]) / value for block, value in known.items()) for curves in clips]
    count = sum(ratio > APART for ratio in ratios)
    said = f"their disparity in the last active step is {_span(ratios, '.2f')} times {source}, the limit is {APART:.2f}"
    if not count:
        return Finding("structure", False, f"No clip is likely to fall apart: {said}.", evidence)
    return Finding(
        "structure",
        True,
        f"{_count(count, clips)} likely to fall apart: {said}.",
        evidence,
        "Guide more (alpha), or choose among seeds (the best of 4, by structure).",
    )


def _parting(clips: Sequence[Curves]) -> Finding:
    evidence = "The paper's Figures 2a and 2b: disparity grows over the steps, and falls under the method."
    blocks = tuple(clips[0].disparity)
    if not blocks:
        return Finding("parting", False, "No disparity to an anchor is recorded here.", evidence)
    steps = range(min(len(curves.steps) for curves in clips))
    means = {b: [fmean(float(curves.disparity[b][step]) for curves in clips) for step in steps] for b in blocks}
    block = max(means, key=lambda b: max(means[b]))
    curve, number = means[block], [step + 1 for step in clips[0].steps]
    most = max(range(len(curve)), key=curve.__getitem__)
    grows = curve[-1] > APART * curve[0]
    sentence = (
        f"Maps part most from the anchor's in {block}, in step {number[most]}: disparity {curve[0]:.2f} in step "
        f"{number[0]}, {curve[-1]:.2f} in step {number[-1]}"
    )
    if not grows:
        return Finding("parting", False, f"{sentence}; it grows by less than a third.", evidence)
    return Finding(
        "parting",
        True,
        f"{sentence}; it grows by more than a third.",
        evidence,
        f"Guide {block} more than others (guided_blocks), or all of them more (alpha).",
    )


def _beta(clips: Sequence[Curves], least: float | None) -> Finding:
    evidence = (
        "The paper's Figure 12: guidance takes energy, and beta rises above its least value to give it back. In our "
        "study of November 2026 it stayed there in all maps of diorama, whose anchor gives energy."
    )
    if least is None:
        return Finding("beta", False, "The method was off, so that there was no beta to adapt.", evidence)
    if clips[0].anchor is None:
        return Finding("beta", False, f"Nothing is guided here, and beta is {least:g} by the config.", evidence)
    values = [
        (float(curves.beta[block][s]), block, curves.steps[s] + 1)
        for curves in clips
        for block in curves.guided
        for s in range(len(curves.steps))
    ]
    share = sum(beta > least * (1 + ADAPTED) for beta, _, _ in values) / len(values)
    largest, block, step = max(values)
    if share > SELDOM:
        return Finding(
            "beta",
            False,
            f"Beta adapts: in {share:.0%} of blocks and steps it is above its least value {least:g}, in the mean "
            f"{fmean(beta for beta, _, _ in values):.2f}, at most {largest:.2f} ({block}, step {step}).",
            evidence,
        )
    return Finding(
        "beta",
        True,
        f"Beta is at its floor: in {1 - share:.0%} of blocks and steps it is its least value {least:g} "
        f"(the limit is {1 - SELDOM:.0%}), so that guidance takes no energy which would have to be given back.",
        evidence,
        "Motion goes by beta alone: raise it where clips are near-static.",
    )


def _schedule(noise: ActiveNoise | None) -> Finding:
    evidence = (
        "Our study of November 2026, prompts swapped after 5 of 25 steps (diorama, 32 pairs): where the log-SNR in the "
        f"last active step was {DECIDED}, 78 to 100 % of subject, colour, setting and motion were decided, and where "
        f"it was {UNDECIDED}, 0 to 9 %. One world, one kind of model."
    )
    if noise is None:
        return Finding("schedule", False, "The scheduler does not tell the noise of its steps.", evidence)
    said = f"log-SNR {noise.first:.1f} in the first active step, {noise.last:.1f} in the last"
    if noise.last < (DECIDED + UNDECIDED) / 2:
        return Finding(
            "schedule",
            True,
            f"The method is over before layout is decided ({said}; the limit is {(DECIDED + UNDECIDED) / 2:.1f}).",
            evidence,
            "Let it act in more steps (active_steps), or sample with a schedule that spends fewer on pure noise.",
        )
    if noise.first > DECIDED:
        return Finding(
            "schedule",
            True,
            f"The method begins when most of the layout is decided ({said}; the limit is {DECIDED}).",
            evidence,
            "Begin earlier: a higher strength, where the clip starts from a video.",
        )
    return Finding("schedule", False, f"The method acts while layout is decided ({said}).", evidence)


def _energy(clips: Sequence[Curves], block: str) -> float:
    """The mean over clips and steps."""
    return fmean(float(curves.energy[block].mean()) for curves in clips)


def _count(count: int, clips: Sequence[Curves]) -> str:
    if len(clips) == 1:
        return "The clip is"
    return f"{count} of {len(clips)} clips {'is' if count == 1 else 'are'}"


def _span(values: Sequence[float], form: str) -> str:
    """From the least to the greatest."""
    low, high = min(values), max(values)
    return f"{low:{form}}" if f"{low:{form}}" == f"{high:{form}}" else f"{low:{form}} to {high:{form}}"
