"""From clips with their records to a fit that later clips are told by."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.prediction import predict
from bytheway.diagnosis.store import save_fit
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.loading import load_measures
from bytheway.evaluation.measures.measure import Measurement
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.selection.conditions import conditions_of, fit_for
from bytheway.selection.learning import Example, learn, measured, measures_at_hand
from tests.diagnosis.records import curves

REQUEST = Request(("a red ball",), seed=7, num_frames=4, width=16, height=16, steps=4, config=ByTheWayConfig())


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BYTHEWAY_DATA", str(tmp_path))


def measurement(name: str, value: float | bool) -> Measurement:
    return Measurement(name, value, (), (), "frame", "px", None, False)


def examples(*names: str) -> list[Example]:
    """Thirty clips, the livelier the more energy they have; those below 0.15 stand still."""
    made = []
    for number, energy in enumerate(np.linspace(0.1, 0.2, 30)):
        values = {"flow_mean": energy * 40, "dynamic_degree": bool(energy > 0.15), "temporal_flickering": 1 - energy}
        clip = curves(energy=float(energy), apart=(1.0, 1.0 + 0.01 * (number % 7)))
        made.append(Example(f"prompt {number}", clip, {name: measurement(name, values[name]) for name in names}))
    return made


def test_flow_makes_motion_and_near_static_clips(tiny_pipeline: Any) -> None:
    job = check(REQUEST, tiny_pipeline)
    assert fit_for("tiny", tiny_pipeline, job) is None
    fit = learn("tiny", tiny_pipeline, job, examples("flow_mean", "dynamic_degree", "temporal_flickering"))
    assert {name: one.measure for name, one in fit.predictors.items()} == {
        "motion": "mean optical flow",
        "near_static": "no dynamic degree",
    }
    calm, lively = predict(curves(energy=0.11), fit), predict(curves(energy=0.19), fit)
    assert calm.motion < 5 < 7 < lively.motion
    assert (calm.near_static or 0) > 0.7 > 0.3 > (lively.near_static or 1)
    assert fit.usual["last disparity of up_blocks.2"] == pytest.approx(1.03, abs=0.01)
    save_fit(fit)
    assert fit_for("tiny", tiny_pipeline, job) == fit
    other = check(Request(("a",), seed=1, num_frames=4, width=16, height=16, steps=5), tiny_pipeline)
    assert fit_for("tiny", tiny_pipeline, other) is None


def test_without_flow_the_change_of_the_pixels_is_motion(tiny_pipeline: Any) -> None:
    fit = learn("tiny", tiny_pipeline, check(REQUEST, tiny_pipeline), examples("temporal_flickering"))
    assert {name: one.measure for name, one in fit.predictors.items()} == {"motion": "temporal flickering, negative"}
    assert predict(curves(energy=0.11), fit).motion < predict(curves(energy=0.19), fit).motion


def test_too_few_clips(tiny_pipeline: Any) -> None:
    with pytest.raises(ByTheWayError, match="From 8 clips nothing can be fitted: 24 or more are needed"):
        learn("tiny", tiny_pipeline, check(REQUEST, tiny_pipeline), examples("flow_mean")[:8])


def test_conditions_say_what_a_clip_depends_on(tiny_pipeline: Any) -> None:
    conditions = conditions_of(tiny_pipeline, check(REQUEST, tiny_pipeline))
    assert conditions["config"] == ByTheWayConfig().to_dict()
    assert (conditions["steps"], conditions["scheduler"], conditions["images"]) == (4, "DDIMScheduler", 0)
    assert not {"seed", "prompt", "device", "versions"} & conditions.keys()


def test_measures_at_hand_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(names: Any, offline: bool = False) -> Any:
        if names[0] == "temporal_flickering":
            return load_measures(names, offline=offline)
        assert offline
        raise ByTheWayError(f"no network for {names[0]}")

    monkeypatch.setattr("bytheway.selection.learning.load_measures", load)
    (measure,), missing = measures_at_hand()
    assert measure.names == ("temporal_flickering",)
    assert missing == {
        "flow_mean": "no network for flow_mean",
        "dynamic_degree": "no network for flow_mean",
        "subject_consistency": "no network for subject_consistency",
    }
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    assert measured(frames, 8.0, "a ball", [measure])["temporal_flickering"].value == 1
    assert measured(frames[:1], 8.0, "a ball", [measure]) == {}
