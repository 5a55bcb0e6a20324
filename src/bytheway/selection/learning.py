"""A model's clips made, recorded and measured, so that later ones can be told from their first steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bytheway.clips.frames import Frames
from bytheway.diagnosis.curves import Curves
from bytheway.diagnosis.fit import FEWEST_CLIPS, Fit
from bytheway.diagnosis.prediction import features_of
from bytheway.diagnosis.store import fingerprint_of
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.loading import load_measures
from bytheway.evaluation.measures.measure import Measure, Measurement
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.job import Job
from bytheway.selection.conditions import conditions_of


@dataclass(frozen=True, eq=False)
class Example:
    """A finished clip, and what was recorded of its active steps.

    Attributes:
        prompt: what it shows.
        curves: of the active steps.
        measured: what was measured of it, by name.
    """

    prompt: str
    curves: Curves
    measured: dict[str, Measurement]


def measures_at_hand() -> tuple[tuple[Measure, ...], dict[str, str]]:
    """Measures of motion and of structure that this machine has the networks for, and why the others are left out.

    Motion is optical flow, else the change of the pixels; structure is the consistency of the subject.
    """
    found: list[Measure] = []
    missing: dict[str, str] = {}
    for wanted, instead in (
        (("flow_mean", "dynamic_degree"), ("temporal_flickering",)),
        (("subject_consistency",), ()),
    ):
        try:
            found += load_measures(wanted, offline=True)
        except ByTheWayError as error:
            missing |= dict.fromkeys(wanted, str(error))
            found += load_measures(instead) if instead else ()
    return tuple(found), missing


def measured(frames: Frames, fps: float, prompt: str, measures: Sequence[Measure]) -> dict[str, Measurement]:
    """What the measures say of a clip, by name; those that it is too short or too small for are left out."""
    found: dict[str, Measurement] = {}
    for measure in measures:
        try:
            found |= {one.name: one for one in measure(frames, fps, prompt)}
        except ByTheWayError:
            continue
    return found


def learn(model: str, pipe: VideoPipeline, job: Job, examples: Sequence[Example]) -> Fit:
    """What the first steps of a model's clips tell of them.

    Args:
        model: its name, as the user gave it.
        pipe, job: with which the examples were made.
        examples: a few dozen.

    Raises:
        ByTheWayError: there are too few, or they tell nothing; or scikit-learn is not installed.
    """
    from bytheway.selection.fitting import fit_predictor

    features = [features_of(example.curves) for example in examples]
    prompts = [example.prompt for example in examples]
    flow, pixels = _values(examples, "flow_mean"), _values(examples, "temporal_flickering")
    motion = ("mean optical flow", flow) if np.isfinite(flow).any() else ("temporal flickering, negative", -pixels)
    static, structure = 1 - _values(examples, "dynamic_degree"), _values(examples, "subject_consistency")
    fitted = {
        "motion": fit_predictor(features, motion[0], "number", motion[1], prompts),
        "structure": fit_predictor(features, "subject consistency", "number", structure, prompts),
        "near_static": fit_predictor(features, "no dynamic degree", "chance", static, prompts),
    }
    predictors = {name: one for name, one in fitted.items() if one is not None}
    if not predictors:
        raise ByTheWayError(
            f"From {len(examples)} clips nothing can be fitted: {FEWEST_CLIPS} or more are needed, of two or more "
            "prompts, that are not all alike."
        )
    usual = {name: float(np.mean([of_clip[name] for of_clip in features])) for name in features[0]}
    return Fit(model, fingerprint_of(pipe), conditions_of(pipe, job), len(examples), predictors, usual)


def _values(examples: Sequence[Example], name: str) -> np.ndarray:
    """A measure of each clip, (n,); NaN where it has none. Yes is 1, no is 0."""
    found = (example.measured.get(name) for example in examples)
    return np.array([math.nan if one is None else float(one.value) for one in found])
