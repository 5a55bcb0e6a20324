"""The method on every pipeline of the AnimateDiff family: the right steps, the right part of the batch, all undone."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from bytheway import ByTheWayConfig, apply_bytheway, enhanced, remove_bytheway
from bytheway.families.sites import find_sites
from tests.apply.explicit import Watch, check_enhanced_sites, own_output, roundings
from tests.toys.animatediff import FACTORIES, ONE_PROMPT

# The first of the two steps that each run has.
HALF = ByTheWayConfig(active_steps=0.5)
SIZES = {"up_blocks.1": (2, 2), "up_blocks.2": (4, 4), "up_blocks.3": (8, 8)}
SIZES_OF_SDXL = {"up_blocks.0": (2, 2), "up_blocks.1": (4, 4), "up_blocks.2": (8, 8)}


@dataclass
class Runs:
    """What one pipeline made of the same prompts and seeds."""

    name: str
    pipe: Any
    call: dict[str, Any]
    vanilla: torch.Tensor
    enhanced: torch.Tensor
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]]
    rows: list[Any]

    @property
    def videos(self) -> int:
        return len(self.enhanced)


def run(pipe: Any, call: dict[str, Any], first: int = 0, guidance_scale: float = 5.0) -> torch.Tensor:
    """The latents of a run of two steps; seeds count from `first`, and so do those of what is drawn without a seed."""
    steps = 4 if "strength" in call else 2
    call = {"num_inference_steps": steps, **call}
    generators = [torch.Generator().manual_seed(first + index) for index in range(len(call["prompt"]))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return pipe(**call, guidance_scale=guidance_scale, generator=generators).frames


@pytest.fixture(scope="module", params=FACTORIES)
def runs(request: pytest.FixtureRequest) -> Runs:
    pipe, call = FACTORIES[request.param](1 if request.param in ONE_PROMPT else 2)
    vanilla = run(pipe, call)
    with Watch(pipe.unet) as watch, enhanced(pipe, HALF) as running:
        active = run(pipe, call)
    assert running.record is not None
    return Runs(request.param, pipe, call, vanilla, active, watch.seen, running.record.rows())


def last_alone(call: dict[str, Any], videos: int) -> dict[str, Any]:
    """The call for the last of the videos."""
    if videos == 1:
        return call
    return call | {name: call[name][-1:] for name in ("prompt", "video", "image") if name in call}


def test_window_opens_in_the_steps_that_are_run(runs: Runs) -> None:
    assert {row.step for row in runs.rows} == {0}
    timesteps = runs.pipe.scheduler.timesteps
    assert {row.timestep for row in runs.rows} == {int(timesteps[len(timesteps) - 2])}
    for site in find_sites(runs.pipe.unet, HALF):
        first, second = runs.seen[site.path]
        assert torch.equal(second[1], own_output(site.module, second[0]))
        assert torch.equal(first[1], own_output(site.module, first[0])) is (site.role == "observed")


def test_sites_compute_the_papers_form_from_the_conditional_part(runs: Runs) -> None:
    """Unconditional first, conditional second; PAG's perturbed part, third, is enhanced by the conditional's beta."""
    parts = 3 if runs.name == "pag" else 2
    conditional = [runs.videos + video for video in range(runs.videos)] * parts
    sizes = SIZES_OF_SDXL if runs.name == "sdxl" else SIZES
    first = {path: calls[:1] for path, calls in runs.seen.items()}
    assert check_enhanced_sites(runs.pipe.unet, first, HALF, sizes, conditional) == 12


def test_a_video_alone_is_the_video_in_a_batch(runs: Runs) -> None:
    if runs.videos == 1:
        pytest.skip("diffusers takes one prompt at a time")
    with enhanced(runs.pipe, HALF) as running:
        video = run(runs.pipe, last_alone(runs.call, 2), first=1)
    torch.testing.assert_close(video[0], runs.enhanced[1], rtol=1e-3, atol=1e-4)
    assert running.record is not None
    betas = [row.beta for row in running.record.rows()]
    assert betas == pytest.approx([row.beta for row in runs.rows if row.video == 1], rel=1e-3)
    assert betas != pytest.approx([row.beta for row in runs.rows if row.video == 0], rel=1e-3)


def test_remove_is_bit_equal(runs: Runs) -> None:
    apply_bytheway(runs.pipe, HALF)
    assert (run(runs.pipe, runs.call) - runs.vanilla).abs().max() > 1e-2
    remove_bytheway(runs.pipe)
    assert torch.equal(run(runs.pipe, runs.call), runs.vanilla)


def test_guidance_off(runs: Runs) -> None:
    """One part, or two with PAG, whose conditional one comes first."""
    call = last_alone(runs.call, runs.videos) | {"num_inference_steps": 2 if "strength" in runs.call else 1}
    with Watch(runs.pipe.unet) as watch, enhanced(runs.pipe, HALF):
        run(runs.pipe, call, guidance_scale=1.0)
    first = {path: calls[:1] for path, calls in watch.seen.items()}
    sizes = SIZES_OF_SDXL if runs.name == "sdxl" else SIZES
    conditional = [0, 0] if runs.name == "pag" else [0]
    assert check_enhanced_sites(runs.pipe.unet, first, HALF, sizes, conditional) == 12


@pytest.mark.parametrize("name", ["sparse_controlnet", "sparse_controlnet_scribble"])
def test_motion_modules_of_the_controlnet_are_left_alone(name: str) -> None:
    """They are temporal attentions as well, in blocks of the same names; what they say stays the same to the bit.

    SparseCtrl looks at its images and the timestep, never at the latents, so that holds for every step.
    """
    pipe, call = FACTORIES[name]()
    said: list[torch.Tensor] = []
    pipe.controlnet.register_forward_hook(lambda module, args, output: said.append(output[1]))
    run(pipe, call)
    with enhanced(pipe, HALF) as running:
        run(pipe, call)
        assert not any(hasattr(module, "_diffusers_hook") for module in pipe.controlnet.modules())
    for before, now in zip(said[:2], said[2:], strict=True):
        assert before.any()
        assert torch.equal(before, now)
    assert running.record is not None
    assert len(running.record.rows()) == 12


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_pag_may_perturb_the_temporal_attention_itself(guidance_scale: float) -> None:
    """Then the perturbed part's map stays the identity; the others are enhanced as ever."""
    pipe, call = FACTORIES["pag"]()
    pipe.set_pag_applied_layers("up_blocks.2.motion_modules")
    with Watch(pipe.unet) as watch, enhanced(pipe, HALF):
        run(pipe, call | {"num_inference_steps": 1}, guidance_scale=guidance_scale)
    parts = 3 if guidance_scale > 1 else 2
    others = {}
    for site in find_sites(pipe.unet, HALF):
        ((hidden_states, output),) = watch.seen[site.path]
        last = len(output) // parts
        if site.block == "up_blocks.2":
            identity = site.module.to_out[0](site.module.to_v(hidden_states[-last:]))
            torch.testing.assert_close(output[-last:], identity, rtol=0, atol=roundings(identity))
        others[site.path] = [(hidden_states[:-last], output[:-last])]
    conditional = [1, 1] if guidance_scale > 1 else [0]
    assert check_enhanced_sites(pipe.unet, others, HALF, SIZES, conditional) == 12


def test_free_init_of_a_video_to_video_run() -> None:
    """diffusers cuts the steps by the strength at the start and in each iteration: of 16, it runs 4 and then 2."""
    pipe, call = FACTORIES["video_to_video"]()
    pipe.enable_free_init(num_iters=2)
    with enhanced(pipe, HALF) as running:
        run(pipe, call | {"num_inference_steps": 16})
    assert running.record is not None
    assert {(row.run, row.step) for row in running.record.rows()} == {(0, 0), (0, 1), (1, 0)}
