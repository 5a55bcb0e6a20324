"""The steps of a scheduler, seen from outside."""

import inspect
from copy import deepcopy

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from bytheway.generation.scheduler_steps import SchedulerStep, watched


def test_this_scheduler_is_watched_and_no_copy_of_it() -> None:
    """LTX-2 steps its sound with a copy that it makes in the middle of the call."""
    scheduler, plain = DDIMScheduler(), DDIMScheduler()
    seen: list[SchedulerStep] = []
    with watched(scheduler, seen.append):
        assert type(scheduler).__name__ == "DDIMScheduler"
        assert inspect.signature(scheduler.step) == inspect.signature(plain.step)
        for one in (scheduler, plain):
            one.set_timesteps(4)
        other = deepcopy(scheduler)
        sample, noise = torch.ones(1, 2), torch.full((1, 2), 0.5)
        wanted = plain.step(noise, plain.timesteps[0], sample).prev_sample
        for one in (other, scheduler):
            assert torch.equal(one.step(noise, one.timesteps[0], sample=sample).prev_sample, wanted)
    assert type(scheduler) is DDIMScheduler
    scheduler.step(noise, scheduler.timesteps[1], sample)
    (step,) = seen
    assert step.scheduler is scheduler
    assert step.arguments["sample"] is sample
    assert torch.equal(step.predicted(), step.result.pred_original_sample)


def test_what_is_raised_ends_the_step_and_the_watching() -> None:
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(4)

    def refuse(step: SchedulerStep) -> None:
        raise KeyError

    def run() -> None:
        with watched(scheduler, refuse):
            scheduler.step(torch.ones(1, 2), scheduler.timesteps[0], torch.ones(1, 2))

    with pytest.raises(KeyError):
        run()
    assert type(scheduler) is DDIMScheduler


@pytest.mark.parametrize("by_token", [False, True])
def test_flow_matching_predicts_along_the_line(by_token: bool) -> None:
    """x_t = (1 - sigma) x0 + sigma noise; images that a clip starts from have timesteps of their own."""
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    generator = torch.Generator().manual_seed(0)
    clip, noise = torch.randn(2, 1, 5, 3, generator=generator)
    times = torch.tensor([[0.0, 750.0, 1000.0, 1000.0, 500.0]])
    sigma = (times / 1000).unsqueeze(-1) if by_token else scheduler.sigmas[0]
    sample, velocity = (1 - sigma) * clip + sigma * noise, noise - clip
    seen: list[SchedulerStep] = []
    with watched(scheduler, seen.append):
        tokens = {"per_token_timesteps": times} if by_token else {}
        scheduler.step(velocity, scheduler.timesteps[0], sample, return_dict=False, **tokens)
    torch.testing.assert_close(seen[0].predicted(), clip)
