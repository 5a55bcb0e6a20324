"""How much of a clip is left under the noise of the active steps."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

import bytheway
from bytheway.diagnosis.findings import DECIDED
from bytheway.diagnosis.schedule import active_noise


def test_dioramas_schedule_is_the_one_that_the_limit_comes_from() -> None:
    scheduler = DDIMScheduler.from_pretrained(Path(bytheway.__file__).parent / "models" / "diorama" / "scheduler")
    scheduler.set_timesteps(25)
    noise = active_noise(scheduler, scheduler.timesteps[:5].tolist(), (8, 8))
    assert noise is not None
    assert noise.last == pytest.approx(DECIDED, abs=0.05)
    wide = active_noise(scheduler, scheduler.timesteps[:5].tolist(), (64, 64))
    assert wide is not None
    assert wide.last - noise.last == pytest.approx(2 * math.log(8))


def test_the_same_noise_by_whatever_the_scheduler_counts() -> None:
    flow = UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    for scheduler in (FlowMatchEulerDiscreteScheduler(), flow):
        noise = active_noise(scheduler, [800.0, 500.0], (64, 64))
        assert noise is not None
        assert noise.first == pytest.approx(2 * math.log(0.2 / 0.8))
        assert noise.last == pytest.approx(0)
    continuous = EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction")
    noise = active_noise(continuous, [0.25 * math.log(700.0), 0.25 * math.log(2.0)], (64, 64))
    assert noise is not None
    assert (noise.first, noise.last) == (pytest.approx(-2 * math.log(700)), pytest.approx(-2 * math.log(2)))


def test_a_scheduler_that_does_not_tell() -> None:
    assert active_noise(SimpleNamespace(config={}), [1.0], (8, 8)) is None
