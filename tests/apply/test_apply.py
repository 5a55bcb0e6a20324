"""The method on a whole pipeline: what it computes there, and that nothing but what was asked for changes."""

import pytest
import torch
from diffusers import AnimateDiffPipeline, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe, remove_bytheway
from bytheway.families.sites import find_sites
from tests.apply.explicit import Watch, check_enhanced_sites, own_output
from tests.toys.tiny import generate, make_pipeline

ALWAYS = ByTheWayConfig(active_steps=1.0)
HALF = ByTheWayConfig(active_steps=0.5)


@pytest.fixture(scope="module")
def pipe():
    """Shared by tests that leave it as they found it, which `test_remove_leaves_no_trace` proves possible."""
    return make_pipeline()


@pytest.fixture(scope="module")
def vanilla(pipe):
    return generate(pipe)


def same(left, right):
    return torch.equal(left, right)


def differ(left, right):
    return (left - right).abs().max() > 1e-2


@pytest.mark.parametrize(("guidance_scale", "conditional"), [(5.0, [2, 3, 2, 3]), (1.0, [0, 1])])
def test_every_site_computes_the_papers_form(pipe, guidance_scale, conditional):
    """From q, k and v of each site, with maps: softmax, guidance by the anchor's map, band, adaptive beta, times v."""
    sizes = {"up_blocks.1": (3, 4), "up_blocks.2": (6, 8), "up_blocks.3": (12, 16)}
    settings = {"height": 24, "width": 32, "num_inference_steps": 1, "guidance_scale": guidance_scale}
    with Watch(pipe.unet) as watch, enhanced(pipe, ALWAYS, record=False):
        generate(pipe, ["a red ball", "a blue star"], **settings)
    assert check_enhanced_sites(pipe.unet, watch.seen, ALWAYS, sizes, conditional) == 12


def test_outside_the_window_the_modules_own_forward_runs(pipe):
    with Watch(pipe.unet) as watch, enhanced(pipe, HALF, record=False):
        generate(pipe, num_inference_steps=2)
    for site in find_sites(pipe.unet, HALF):
        (first, enhanced_output), (second, output) = watch.seen[site.path]
        assert same(output, own_output(site.module, second))
        assert same(enhanced_output, own_output(site.module, first)) is (site.role == "observed")


def test_enhancement_changes_the_video(pipe, vanilla):
    with enhanced(pipe, HALF, record=False):
        assert differ(generate(pipe), vanilla)


def test_no_active_steps_is_vanilla_bit_for_bit(pipe, vanilla):
    with enhanced(pipe, active_steps=0):
        assert same(generate(pipe), vanilla)


@pytest.mark.parametrize("record", [False, True])
def test_alpha_0_and_beta_1_is_vanilla(pipe, vanilla, record):
    with enhanced(pipe, ALWAYS, alpha=0, beta=1, record=record):
        torch.testing.assert_close(generate(pipe), vanilla, rtol=1e-3, atol=1e-4)


def test_recording_does_not_change_the_video(pipe):
    with enhanced(pipe, HALF, record=True):
        recorded = generate(pipe)
    with enhanced(pipe, HALF, record=False) as run:
        torch.testing.assert_close(generate(pipe), recorded)
    assert run.record is None


def attributes(denoiser):
    """What the hooks could leave behind."""
    return {
        path: (sorted(vars(module)), len(module._forward_pre_hooks), len(module._forward_hooks))
        for path, module in denoiser.named_modules()
    }


def test_remove_leaves_no_trace(pipe, vanilla):
    before = attributes(pipe.unet)
    apply_bytheway(pipe, ALWAYS)
    assert differ(generate(pipe), vanilla)
    remove_bytheway(pipe)
    assert attributes(pipe.unet) == before
    assert same(generate(pipe), vanilla)
    remove_bytheway(pipe)


def test_applying_twice_replaces_the_settings(pipe, vanilla):
    with enhanced(pipe, ALWAYS, beta=4.0, record=False):
        strong = generate(pipe)
    apply_bytheway(pipe, ALWAYS)
    apply_bytheway(pipe, ALWAYS.replace(beta=4.0))
    assert same(generate(pipe), strong)
    remove_bytheway(pipe)
    assert same(generate(pipe), vanilla)


def test_preset_by_architecture(pipe):
    with enhanced(pipe) as run:
        assert run.config == ByTheWayConfig(alpha=0.6, beta=1.5, tau=7)
    with enhanced(pipe, HALF, tau=3) as run:
        assert run.config == HALF.replace(tau=3)


def test_after_the_context_comes_what_was_before(pipe, vanilla):
    apply_bytheway(pipe, ALWAYS)
    applied = generate(pipe)
    with enhanced(pipe, ALWAYS, beta=4.0):
        inner = generate(pipe)
        with observe(pipe):
            assert same(generate(pipe), vanilla)
        assert same(generate(pipe), inner)
    assert same(generate(pipe), applied)
    remove_bytheway(pipe)
    assert same(generate(pipe), vanilla)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["callback", "denoiser"])
def test_breaking_off_a_run(pipe, vanilla, kind, where):
    def interrupt(*_):
        raise kind

    before = attributes(pipe.unet)
    # Between the anchor block and those that it guides.
    handle = pipe.unet.up_blocks[2].register_forward_pre_hook(interrupt) if where == "denoiser" else None
    changes = {"callback_on_step_end": interrupt} if where == "callback" else {}
    with pytest.raises(kind), enhanced(pipe, ALWAYS):
        generate(pipe, **changes)
    if handle is not None:
        handle.remove()
    assert attributes(pipe.unet) == before
    assert same(generate(pipe), vanilla)


def test_a_broken_run_leaves_nothing_to_the_next(pipe):
    def interrupt(*_):
        raise RuntimeError

    with enhanced(pipe, ALWAYS, record=False):
        expected = generate(pipe)
    apply_bytheway(pipe, ALWAYS)
    handle = pipe.unet.up_blocks[2].register_forward_pre_hook(interrupt)
    with pytest.raises(RuntimeError):
        generate(pipe, "a blue star")
    handle.remove()
    assert pipe.unet._bytheway.turn.forward is None
    pipe.unet.up_blocks[3].motion_modules[0](torch.zeros(16, 32, 4, 4), num_frames=8)
    assert same(generate(pipe), expected)
    remove_bytheway(pipe)


def test_a_second_pipeline_that_shares_the_denoiser(pipe, vanilla):
    """With its own scheduler and with the shared one: it is vanilla until it is given settings of its own."""
    other = AnimateDiffPipeline(**pipe.components)
    other.set_progress_bar_config(disable=True)
    apply_bytheway(pipe, ALWAYS)
    enhanced_video = generate(pipe)
    assert same(generate(other), vanilla)
    other.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    assert same(generate(other), vanilla)
    with enhanced(other, ALWAYS, beta=4.0):
        stronger = generate(other)
        assert same(generate(pipe), enhanced_video)
    assert differ(stronger, enhanced_video)
    assert same(generate(other), vanilla)
    assert same(generate(pipe), enhanced_video)
    remove_bytheway(other)
    assert same(generate(pipe), enhanced_video)
    remove_bytheway(pipe)
    assert same(generate(pipe), vanilla)


class Probe(DiffusionPipeline):
    """One call of the denoiser, without a scheduler."""

    def __init__(self, unet):
        super().__init__()
        self.register_modules(unet=unet)

    @torch.no_grad()
    def __call__(self, *inputs):
        return self.unet(*inputs).sample


def test_a_second_pipeline_without_a_scheduler(pipe):
    probe = Probe(pipe.unet)
    embeds, latents = as_of_pipeline(pipe)
    pipe.scheduler.set_timesteps(2)
    inputs = torch.cat([latents] * 2), pipe.scheduler.timesteps[0], embeds
    plain = probe(*inputs)
    with enhanced(pipe, ALWAYS):
        assert same(probe(*inputs), plain)
    with enhanced(probe, ALWAYS, classifier_free_guidance=True), pytest.raises(ByTheWayError, match="scheduler="):
        probe(*inputs)
    with enhanced(probe, ALWAYS, scheduler=pipe.scheduler, classifier_free_guidance=True):
        assert differ(probe(*inputs), plain)


def test_a_pipeline_called_from_another_ones_callback(pipe, vanilla):
    other = AnimateDiffPipeline(**pipe.components)
    other.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    other.set_progress_bar_config(disable=True)
    inner = []

    def callback(*_):
        inner.append(generate(other))
        return {}

    with enhanced(pipe, ALWAYS, record=False):
        expected = generate(pipe)
        assert same(generate(pipe, callback_on_step_end=callback), expected)
    assert all(same(video, vanilla) for video in inner)


def test_a_bare_denoiser_serves_every_pipeline(pipe, vanilla):
    with enhanced(pipe, HALF, record=False):
        expected = generate(pipe)
    apply_bytheway(pipe.unet, HALF)
    assert same(generate(pipe), expected)
    assert same(generate(AnimateDiffPipeline(**pipe.components)), expected)
    with enhanced(pipe, HALF, beta=4.0):
        assert differ(generate(pipe), expected)
    with pytest.raises(ByTheWayError, match="give remove_bytheway the denoiser"):
        remove_bytheway(pipe)
    assert same(generate(pipe), expected)
    remove_bytheway(pipe.unet)
    assert same(generate(pipe), vanilla)


def test_removing_from_the_bare_denoiser_removes_all(pipe, vanilla):
    apply_bytheway(pipe, ALWAYS)
    remove_bytheway(pipe.unet)
    assert same(generate(pipe), vanilla)


def test_a_pipeline_that_is_gone_takes_its_settings_along(pipe, vanilla):
    other = AnimateDiffPipeline(**pipe.components)
    apply_bytheway(other, ALWAYS)
    del other
    assert same(own_loop(pipe, as_of_pipeline(pipe)), vanilla)
    remove_bytheway(pipe.unet)


def test_a_video_alone_is_the_video_in_a_batch(pipe):
    prompts = ["a red ball bounces", "a blue star turns", "a red ball bounces"]

    def generators():
        return [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]

    with enhanced(pipe, ALWAYS) as run:
        together = generate(pipe, prompts, generator=generators())
    betas = {(row.video, row.beta) for row in run.record.rows() if (row.block, row.step) == ("up_blocks.3", 0)}
    assert len(betas) == 3 * 4
    for video, (prompt, generator) in enumerate(zip(prompts, generators(), strict=True)):
        with enhanced(pipe, ALWAYS, record=False):
            alone = generate(pipe, prompt, generator=generator)
        torch.testing.assert_close(alone[0], together[video], rtol=1e-3, atol=1e-4)
    assert differ(together[0], together[2])


def test_several_videos_a_prompt(pipe):
    """AnimateDiff takes them as repeated embeddings, all unconditional ones before all conditional ones."""
    embeds, negative = pipe.encode_prompt("a red ball", "cpu", 2, True)
    with enhanced(pipe, ALWAYS, record=False):
        both = generate(
            pipe,
            None,
            prompt_embeds=embeds,
            negative_prompt_embeds=negative,
            generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)],
        )
        second = generate(pipe, "a red ball", generator=torch.Generator().manual_seed(2))
    assert len(both) == 2
    torch.testing.assert_close(second[0], both[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 7, 16, 24])
def test_other_numbers_of_frames(pipe, frames):
    plain = generate(pipe, num_frames=frames)
    with enhanced(pipe, HALF) as run:
        video = generate(pipe, num_frames=frames)
    assert video.shape == plain.shape == (1, 4, frames, 8, 8)
    assert video.isfinite().all()
    assert run.record.rows()
    assert same(video, plain) if frames == 1 else differ(video, plain)


@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24), (8, 56)])
def test_latents_that_are_not_square_nor_divisible_by_8(pipe, height, width):
    with enhanced(pipe, HALF) as run:
        video = generate(pipe, height=height, width=width)
    assert video.shape[-2:] == (height // 2, width // 2)
    assert video.isfinite().all()
    assert len(run.record) == 12


def test_three_levels():
    pipe = make_pipeline(channels=(32, 32, 64))
    plain = generate(pipe)
    with enhanced(pipe, HALF) as run:
        assert differ(generate(pipe), plain)
    assert {row.block for row in run.record.rows()} == {"up_blocks.0", "up_blocks.1", "up_blocks.2"}


def test_heads_that_differ_between_blocks():
    pipe = make_pipeline(heads=(1, 2, 4, 4))
    for rule in ("group_mean", "mean"):
        with enhanced(pipe, HALF, head_rule=rule):
            assert generate(pipe).isfinite().all()


def as_of_pipeline(pipe):
    """What the pipeline's own loop would send: embeddings of both halves, and the initial noise."""
    embeds, negative = pipe.encode_prompt("a red ball bounces", "cpu", 1, True)
    noise = torch.randn(1, 4, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.cat([negative, embeds]).repeat_interleave(8, dim=0), noise


@torch.no_grad()
def own_loop(pipe, inputs, to_timestep=lambda t: t):
    embeds, latents = inputs
    pipe.scheduler.set_timesteps(2)
    for t in pipe.scheduler.timesteps:
        noise = pipe.unet(torch.cat([latents] * 2), to_timestep(t), embeds).sample
        unconditional, conditional = noise.chunk(2)
        noise = unconditional + 5.0 * (conditional - unconditional)
        latents = pipe.scheduler.step(noise, t, latents).prev_sample
    return latents


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("to_timestep", [lambda t: t, int, torch.clone], ids=["view", "number", "copy"])
def test_a_loop_of_ones_own(pipe, bare, to_timestep):
    with enhanced(pipe, HALF, record=False):
        expected = generate(pipe)
    model = pipe.unet if bare else pipe
    scheduler = pipe.scheduler if bare else None
    inputs = as_of_pipeline(pipe)
    with enhanced(model, HALF, scheduler=scheduler, classifier_free_guidance=True) as run:
        torch.testing.assert_close(own_loop(pipe, inputs, to_timestep), expected)
    assert {(row.step, row.timestep) for row in run.record.rows()} == {(0, 999)}


def test_a_loop_of_ones_own_has_to_tell_what_a_pipeline_knows(pipe):
    inputs = as_of_pipeline(pipe)
    with enhanced(pipe.unet, HALF), pytest.raises(ByTheWayError, match="scheduler="):
        own_loop(pipe, inputs)
    with enhanced(pipe, HALF), pytest.raises(ByTheWayError, match="batch of 2 is"):
        own_loop(pipe, inputs)
    with (
        enhanced(pipe, HALF, classifier_free_guidance=True),
        pytest.raises(ByTheWayError, match="classifier_free_guidance=False"),
    ):
        pipe.unet(torch.zeros(1, 4, 8, 8, 8), pipe.scheduler.timesteps[0], inputs[0][:8])
    with enhanced(pipe, HALF), pytest.raises(ByTheWayError, match="timestep 12345"):
        pipe.unet(torch.zeros(1, 4, 8, 8, 8), 12345, inputs[0][:8])
    with enhanced(pipe, HALF) as run, torch.no_grad():
        pipe.unet(torch.zeros(1, 4, 8, 8, 8), pipe.scheduler.timesteps[0], inputs[0][:8])
    assert len(run.record) == 12


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (UNet2DConditionModel.__new__(UNet2DConditionModel), "UNet2DConditionModel is no video denoiser"),
        ("a pipeline", "neither a video pipeline nor its denoiser"),
    ],
)
def test_models_that_have_no_temporal_attention(model, words):
    for apply in (apply_bytheway, lambda model: enhanced(model).__enter__(), lambda model: observe(model).__enter__()):
        with pytest.raises(ByTheWayError, match=words):
            apply(model)


def test_settings_that_do_not_fit_change_nothing(pipe, vanilla):
    before = attributes(pipe.unet)
    with pytest.raises(ByTheWayError, match="anchor_block"):
        apply_bytheway(pipe, ByTheWayConfig(anchor_block="attic"))
    with pytest.raises(ByTheWayError, match="beta"), enhanced(pipe, beta=0.5):
        pass
    assert attributes(pipe.unet) == before
    assert same(generate(pipe), vanilla)
