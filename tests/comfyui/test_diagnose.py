"""ByTheWay (diagnose): the library's findings on what the other nodes have recorded."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.findings import diagnose
from bytheway.diagnosis.fit import Fit, Predictor, Skill
from bytheway.diagnosis.schedule import active_noise
from bytheway.diagnosis.store import fingerprint_of, save_fit
from bytheway.errors import ByTheWayError
from bytheway.families.known import preset_for
from bytheway.generation.run import generate, job_of
from bytheway.selection.conditions import conditions_of
from tests.comfyui import fakes
from tests.comfyui.sampling import PROMPT, WHOLE, sample
from tests.comfyui.test_animatediff import FRAMES, LATENTS, forward

TOPICS = ("ANCHOR", "MOTION", "STRUCTURE", "PARTING", "BETA", "SCHEDULE")


def found_in(recorded: list[Any], after: Any = None) -> tuple[Any, str]:
    from bytheway.comfyui.records import ByTheWayDiagnose

    image, text = ByTheWayDiagnose.execute(recorded, after)
    assert image.ndim == 4
    assert image.shape[-1] == 3
    assert len(torch.unique(image)) > 10
    assert [line.split(":")[0] for line in text.splitlines() if line.split(":")[0] in TOPICS] == list(TOPICS)
    return image, text


def test_findings_are_the_librarys(pipe: Any) -> None:
    [recorded] = sample(pipe, record=True, steps=6)[3]
    _, text = found_in([recorded])
    [clip] = generate(pipe.pipe, PROMPT, seed=3, steps=6, num_frames=8, record=True)
    curves = curves_of(clip.record)
    noise = active_noise(pipe.pipe.scheduler, curves.timesteps, (8, 8))
    assert len(curves.steps) == 2
    for one in diagnose([curves], least_beta=preset_for(pipe.pipe).config.beta, num_frames=8, noise=noise):
        assert one.sentence in text
        assert one.evidence in text
        assert one.advice is None or f"What to try: {one.advice}" in text
        assert (f"{one.topic.upper()}: found" in text) == one.found


def test_clips_of_several_seeds_are_held_against_each_other(pipe: Any) -> None:
    records = sample(pipe, best_of=5, keep=4, steps=2)[3]
    (alone, said), (together, of_all) = found_in(records[:1]), found_in(records)
    assert "needs 4 clips" in said
    assert "the median of these clips" in of_all
    assert not torch.equal(alone, together), "all of them are drawn"


def test_without_the_method_the_steps_that_would_be_active_count(pipe: Any) -> None:
    [recorded] = sample(pipe, record=True, steps=6, preset="off")[3]
    assert max(row.step for row in recorded.record.rows()) == 5
    assert recorded.seen().curves.steps == (0, 1)
    assert "The method was off" in found_in([recorded])[1]


def test_a_fit_of_the_model_is_used(pipe: Any) -> None:
    job = job_of(pipe.pipe, PROMPT, seed=3, steps=3, num_frames=8)
    predictor = Predictor("no dynamic degree", "chance", (), (), (), (), 9.0, Skill("AUC", 0.9, 0.8, 1.0))
    conditions = conditions_of(pipe.pipe, job)
    save_fit(Fit("diorama", fingerprint_of(pipe.pipe), conditions, 32, {"near_static": predictor}, {}))
    [recorded] = sample(pipe, record=True, steps=3)[3]
    assert "of near-static clips 100% are expected" in found_in([recorded])[1]
    [other] = sample(pipe, record=True, steps=4)[3]
    assert "are expected" not in found_in([other])[1]
    choice = sample(pipe, best_of=2, steps=3)[4]
    assert "By the fit of diorama on 32 clips." in choice
    assert "near-static" in choice.splitlines()[0], "seeds are told by it too"


def test_what_animatediff_has_recorded() -> None:
    from bytheway.comfyui.models import ByTheWayAnimateDiff

    own = WHOLE | {"motion": 3.0, "active_share": 0.4}
    model, recorder = ByTheWayAnimateDiff.execute(fakes.animated(), preset="own values", **own, record=True)
    sampling = fakes.AnimateDiffGlobalState()
    for step in range(5):
        forward(model, step=step, ADGS=sampling)
    seen = recorder.seen()
    assert seen.num_frames == FRAMES
    assert seen.least_beta == 3.0
    assert seen.fit is None
    height, width = LATENTS.shape[-2:]
    assert seen.noise is not None
    # Noise levels 5, 4, ... of latents that are hardly as wide as a picture's are.
    assert seen.noise.first - seen.noise.last == pytest.approx(2 * torch.log(torch.tensor(4 / 5)).item())
    wanted = -torch.log(torch.tensor(25 * 64**2 / (height * width))).item()
    assert seen.noise.first == pytest.approx(wanted)
    assert "least value 3" in found_in([recorder], after=[{"samples": LATENTS}])[1]


def test_nothing_recorded_is_said(pipe: Any) -> None:
    from bytheway.comfyui.recorder import Recorder

    for recorded in (Recorder(), sample(pipe)[3][0]):
        with pytest.raises(ByTheWayError, match="Nothing was recorded; turn 'record' on"):
            found_in([recorded])
