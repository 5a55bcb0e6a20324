"""What choosing among seeds gives: each measure of the chosen clip against the mean of all, paired by prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bytheway.diagnosis.prediction import Prediction, features_of, predict
from bytheway.evaluation.statistics import Estimate, mean
from bytheway.generation.job import PlannedClip
from bytheway.selection.aim import Aim
from bytheway.selection.best import choose
from bytheway.selection.fitting import cross_validated, skill_of
from research.markdown import table
from research.selection.make import curves_of
from research.study.sampling import Arrays
from research.study.tables import figure

MOTION, STRUCTURE = "flow", "confidence"
"""What an aim means in hindsight: optical flow, and how sure the judge is of the subject."""
MEASURES: Mapping[str, tuple[str, str]] = {
    "broken": ("broken", "%"),
    "near_static": ("near-static (prompts that move)", "%"),
    "subject": ("subject as prompted", "%"),
    "motion": ("motion as prompted", "%"),
    "confidence": ("confidence", ""),
    "motion_range": ("motion range (prompts that move)", "px"),
    "flow": ("optical flow", "px/frame"),
}

Predictions = list[list[Prediction]]  # by prompt and seed


def ways_to_choose(clips: Sequence[Arrays], active: int) -> tuple[dict[str, Predictions], dict[str, Estimate]]:
    """Plain rule, fits of the active steps and of the whole record (on other prompts), hindsight; skills of the fits.

    Args:
        clips: of each prompt, (seeds, ...).
        active: how many steps are active.
    """
    seeds = len(clips[0][MOTION])
    curves = [[curves_of(arrays, seed) for seed in range(seeds)] for arrays in clips]
    hindsight = [
        [
            Prediction(float(arrays[MOTION][s]), float(arrays[STRUCTURE][s]), None, MOTION, STRUCTURE)
            for s in range(seeds)
        ]
        for arrays in clips
    ]
    ways = {"plain rule": [[predict(one.first(active), None) for one in row] for row in curves]}
    skills: dict[str, Estimate] = {}
    recorded = len(curves[0][0].steps)
    spans = {"fit of the active steps": active} | ({"fit of the whole record": recorded} if recorded > active else {})
    for name, steps in spans.items():
        features = np.array([list(features_of(one.first(steps)).values()) for row in curves for one in row])
        motion, structure = (_out_of_fold(features, clips, measure) for measure in (MOTION, STRUCTURE))
        skills[f"{name}, motion"] = skill_of(motion, _flat(clips, MOTION), "number")
        skills[f"{name}, structure"] = skill_of(structure, _flat(clips, STRUCTURE), "number")
        told = [Prediction(m, s, None, MOTION, STRUCTURE) for m, s in zip(motion, structure, strict=True)]
        ways[name] = [told[first : first + seeds] for first in range(0, len(told), seeds)]
    return ways | {"best in hindsight": hindsight}, skills


def _out_of_fold(features: np.ndarray, clips: Sequence[Arrays], measure: str) -> np.ndarray:
    prompts = np.repeat(np.arange(len(clips)), len(clips[0][MOTION]))
    return cross_validated(features, _flat(clips, measure), "number", prompts.tolist())


def _flat(clips: Sequence[Arrays], measure: str) -> np.ndarray:
    return np.concatenate([arrays[measure] for arrays in clips]).astype(float)


def chosen(predictions: Predictions, seeds: int, aim: Aim) -> list[int]:
    """Which of the first seeds of each prompt is chosen."""
    found = []
    for row in predictions:
        planned = [PlannedClip(seed, "", seed) for seed in range(seeds)]
        best = next(one for one in choose(planned, row[:seeds], 1, aim).candidates if one.kept)
        found.append(best.clip.seed)
    return found


def differences(clips: Sequence[Arrays], which: Sequence[int], seeds: int) -> dict[str, Estimate]:
    """Each measure of the chosen clip less the mean of all that were begun, which a random choice would give."""
    return {
        measure: mean(
            np.array([a[measure][one] - a[measure][:seeds].mean() for a, one in zip(clips, which, strict=True)])
        )
        for measure in MEASURES
    }


def page(
    clips: Sequence[Arrays], active: int, numbers: Sequence[int], aims: Sequence[Aim], say: Callable[[str], None]
) -> None:
    """Print everything: skills, and a table for each number of seeds and each aim."""
    ways, skills = ways_to_choose(clips, active)
    say(f"{len(clips)} prompts; brackets are 95 % bootstrap intervals over prompts, paired.\n")
    say(table(("skill over clips of other prompts", "Spearman's rho"), [(n, figure(e, "")) for n, e in skills.items()]))
    for seeds in numbers:
        random = {m: mean(np.array([arrays[m][:seeds].mean() for arrays in clips])) for m in MEASURES}
        for aim in aims:
            say(f"\nBest of {seeds}, aim {aim}: difference to a random seed\n")
            rows = [("a random seed", *(figure(random[m], unit) for m, (_, unit) in MEASURES.items()))]
            for name, predictions in ways.items():
                found = differences(clips, chosen(predictions, seeds, aim), seeds)
                rows.append((name, *(figure(found[m], unit, bold=True) for m, (_, unit) in MEASURES.items())))
            say(table(("", *(name for name, _ in MEASURES.values())), rows))
