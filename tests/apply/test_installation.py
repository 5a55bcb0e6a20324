"""What bytheway leaves on a denoiser: its copies, saving it, other hooks, and who put it there."""

import io
from copy import deepcopy

import pytest
import torch
from diffusers import PyramidAttentionBroadcastConfig, apply_pyramid_attention_broadcast

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, remove_bytheway
from bytheway.families.sites import find_sites
from tests.toys.tiny import generate, make_pipeline

HALF = ByTheWayConfig(active_steps=0.5)


@pytest.fixture
def pipe():
    return make_pipeline(channels=(32, 32), cross_attention=False)


def run(pipe):
    return generate(pipe, num_frames=4, height=8, width=8)


def hooks_left(denoiser):
    """Everything that a hook leaves on a module."""
    names = {"_bytheway", "_bytheway_spare_hooks", "_diffusers_hook", "forward"}
    return [path for path, module in denoiser.named_modules() if names & vars(module).keys()] + [
        *denoiser._forward_pre_hooks,
        *denoiser._forward_hooks,
    ]


@pytest.mark.parametrize("whole", [True, False])
def test_copies_come_without_it(pipe, whole):
    """Of a pipeline or its denoiser; their hooks would run the modules of the original."""
    vanilla = run(pipe)
    apply_bytheway(pipe, HALF)
    video = run(pipe)
    copy = make_pipeline(channels=(32, 32), cross_attention=False)
    if whole:
        copy = deepcopy(pipe)
    else:
        copy.unet = deepcopy(pipe.unet)
    assert torch.equal(run(pipe), video)
    for parameter in pipe.unet.parameters():
        parameter.data.zero_()
    assert torch.equal(run(copy), vanilla)
    assert hooks_left(copy.unet) == []
    apply_bytheway(copy, HALF)
    assert torch.equal(run(copy), video)
    remove_bytheway(copy)
    assert hooks_left(copy.unet) == []


def test_a_copy_that_was_never_run(pipe):
    apply_bytheway(pipe, HALF)
    video = run(pipe)
    copy = deepcopy(pipe)
    remove_bytheway(copy)
    assert hooks_left(copy.unet) == []
    copy = deepcopy(pipe)
    apply_bytheway(copy, HALF)
    assert torch.equal(run(copy), video)


def test_saving_a_denoiser(pipe):
    apply_bytheway(pipe, HALF)
    with pytest.raises(ByTheWayError, match="call remove_bytheway first"):
        torch.save(pipe.unet, io.BytesIO())
    remove_bytheway(pipe)
    torch.save(pipe.unet, io.BytesIO())


def test_a_pipeline_does_not_take_it_off_a_denoiser(pipe):
    vanilla = run(pipe)
    apply_bytheway(pipe.unet, HALF)
    video = run(pipe)
    with pytest.raises(ByTheWayError, match="give remove_bytheway the denoiser"):
        remove_bytheway(pipe)
    assert torch.equal(run(pipe), video)
    remove_bytheway(pipe.unet)
    assert torch.equal(run(pipe), vanilla)
    remove_bytheway(pipe)


def test_caching_that_came_later_stays_when_it_goes(pipe):
    """Pyramid attention broadcast has a forward of its own, which takes ours for the original one."""
    site = find_sites(pipe.unet, HALF)[0].module
    calls = []
    projection = site.to_q.register_forward_hook(lambda *_: calls.append(1))

    def count():
        calls.clear()
        generate(pipe, num_frames=4, height=8, width=8, num_inference_steps=8)
        return len(calls)

    vanilla = count()
    config = PyramidAttentionBroadcastConfig(
        temporal_attention_block_skip_range=2,
        temporal_attention_timestep_skip_range=(-1, 1001),
        temporal_attention_block_identifiers=("motion_modules",),
        current_timestep_callback=lambda: 500,
    )
    apply_bytheway(pipe, HALF)
    apply_pyramid_attention_broadcast(pipe.unet, config)
    remove_bytheway(pipe)
    assert 0 < count() < vanilla
    projection.remove()
