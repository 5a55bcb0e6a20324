"""What bytheway leaves on a denoiser: its copies, saving it, other hooks, and who put it there."""

import copy as copy_module
import gc
import io
import weakref
from copy import deepcopy

import pytest
import torch
from diffusers import PyramidAttentionBroadcastConfig, apply_pyramid_attention_broadcast

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe, remove_bytheway
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


def test_a_copied_denoiser_comes_without_what_its_pipelines_have(pipe):
    """Hooks that were copied would run the modules of the original."""
    vanilla = run(pipe)
    apply_bytheway(pipe, HALF)
    video = run(pipe)
    copy = make_pipeline(channels=(32, 32), cross_attention=False)
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


@pytest.mark.parametrize("whose", ["pipeline's", "denoiser's"])
def test_a_deep_copy_of_a_pipeline_stays_enhanced(pipe, whose):
    """By hooks of its own: neither what is done to the original nor its end matters to it."""
    vanilla = run(pipe)
    model_of = (lambda pipe: pipe) if whose == "pipeline's" else (lambda pipe: pipe.unet)
    apply_bytheway(model_of(pipe), HALF)
    video = run(pipe)
    copy = deepcopy(pipe)
    remove_bytheway(model_of(pipe))
    assert torch.equal(run(pipe), vanilla)
    for parameter in pipe.unet.parameters():
        parameter.data.zero_()
    assert torch.equal(run(copy), video)
    assert torch.equal(run(copy), video)
    remove_bytheway(model_of(copy))
    assert torch.equal(run(copy), vanilla)
    assert hooks_left(copy.unet) == []
    assert vars(copy).keys() == vars(pipe).keys()


def test_a_shallow_copy_of_a_pipeline_stays_enhanced(pipe):
    """It shares the denoiser; what is applied to the one or taken off it later is nothing to the other."""
    vanilla = run(pipe)
    apply_bytheway(pipe, HALF)
    video = run(pipe)
    shallow = copy_module.copy(pipe)
    remove_bytheway(pipe)
    assert torch.equal(run(pipe), vanilla)
    assert torch.equal(run(shallow), video)
    apply_bytheway(pipe, HALF, beta=9.0)
    assert torch.equal(run(shallow), video)
    assert not torch.equal(run(pipe), video)
    remove_bytheway(pipe)
    remove_bytheway(shallow)
    assert torch.equal(run(shallow), vanilla)
    assert hooks_left(pipe.unet) == []


def test_a_copy_made_in_a_block_does_not_record_for_it(pipe):
    with enhanced(pipe, HALF) as inner:
        copy = deepcopy(pipe)
        run(copy)
        assert len(inner.record) == 0
        video = run(pipe)
        assert len(inner.record) > 0
    assert torch.equal(run(copy), video)


def test_a_copy_of_an_observed_pipeline_is_vanilla(pipe):
    with observe(pipe) as observed:
        copy = deepcopy(pipe)
        run(copy)
        assert len(observed.record) == 0
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


def test_a_block_on_the_denoiser_leaves_what_its_pipelines_have(pipe):
    apply_bytheway(pipe, HALF)
    video = run(pipe)
    with enhanced(pipe.unet, HALF, beta=9.0):
        pass
    assert torch.equal(run(pipe), video)


def test_off_the_denoiser_is_off_its_pipelines(pipe):
    vanilla, attributes = run(pipe), set(vars(pipe))
    apply_bytheway(pipe, HALF)
    remove_bytheway(pipe.unet)
    assert torch.equal(run(pipe), vanilla)
    assert set(vars(pipe)) == attributes
    assert hooks_left(pipe.unet) == []


def test_saving_a_pipeline_that_was_copied(pipe):
    """A mark that a shallow copy has kept says nothing once the denoiser is without the method."""
    apply_bytheway(pipe, HALF)
    shallow = copy_module.copy(pipe)
    remove_bytheway(pipe.unet)
    file = io.BytesIO()
    torch.save(shallow, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(run(loaded), run(pipe))
    assert hooks_left(loaded.unet) == []


def test_a_deep_copy_of_a_shallow_one_in_a_loop_of_ones_own(pipe):
    """Its mark knows no pipeline, and so no scheduler."""
    apply_bytheway(pipe, HALF)
    video = run(pipe)
    copy = deepcopy(copy_module.copy(pipe))
    assert torch.equal(run(copy), video)
    with pytest.raises(ByTheWayError, match="scheduler="):
        copy.unet(torch.zeros(1, 4, 4, 4, 4), copy.scheduler.timesteps[0], torch.zeros(4, 16, 32))


def test_remove_says_what_is_no_pipeline():
    with pytest.raises(ByTheWayError, match="neither a video pipeline nor its denoiser"):
        remove_bytheway("a pipeline")


def test_schedulers_that_come_and_go_are_not_kept(pipe):
    apply_bytheway(pipe, HALF)
    video = run(pipe)
    schedulers = []
    for _ in range(70):
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        schedulers.append(weakref.ref(pipe.scheduler))
        pipe.scheduler.set_timesteps(2)
        pipe.unet._bytheway.applied_to(pipe).steps_of(pipe.scheduler)
    assert torch.equal(run(pipe), video)
    gc.collect()
    assert sum(one() is not None for one in schedulers) == 64
