"""Modular pipelines and their guiders: who calls the denoiser, and the definition by maps."""

import copy

import pytest
import torch
from diffusers import LayerSkipConfig, ModularPipeline, SmoothedEnergyGuidanceConfig, guiders
from diffusers.hooks._helpers import AttentionProcessorRegistry
from diffusers.models.transformers.transformer_wan import WanAttnProcessor, WanAttnProcessor2_0
from diffusers.modular_pipelines import (
    ComponentSpec,
    InputParam,
    ModularPipelineBlocks,
    OutputParam,
    SequentialPipelineBlocks,
)
from diffusers.modular_pipelines.modular_pipeline import PipelineState
from torch.nn import functional as F

from bytheway import ByTheWayConfig, apply_bytheway, enhanced, remove_bytheway
from bytheway.families.known import denoisers_of
from tests.apply.joint_checks import ALWAYS, TOKENS, Watch, dense
from tests.apply.joint_checks import generate as generate_standard
from tests.toys import joint, modular, tiny

OTHER = ALWAYS.replace(beta=4.0)
SKIP = {"skip_attention": False, "skip_ff": False}
GUIDERS = {
    "none": lambda: guiders.ClassifierFreeGuidance(enabled=False),
    "CFG": guiders.ClassifierFreeGuidance,
    "CFG-Zero*": guiders.ClassifierFreeZeroStarGuidance,
    "APG": guiders.AdaptiveProjectedGuidance,
    "APG-mix": guiders.AdaptiveProjectedMixGuidance,
    "TCFG": guiders.TangentialClassifierFreeGuidance,
    "auto": lambda: guiders.AutoGuidance(auto_guidance_config=LayerSkipConfig([0]), dropout=1.0),
    "skipped block": lambda: guiders.SkipLayerGuidance(skip_layer_config=LayerSkipConfig([0]), **always("skip_layer")),
    "skipped attention": lambda: guiders.SkipLayerGuidance(
        skip_layer_config=LayerSkipConfig([0], **SKIP | {"skip_attention": True}), **always("skip_layer")
    ),
    "SEG": lambda: guiders.SmoothedEnergyGuidance(seg_guidance_config=SmoothedEnergyGuidanceConfig([0])),
    "PAG": lambda: guiders.PerturbedAttentionGuidance(
        perturbed_guidance_config=LayerSkipConfig([0], **SKIP | {"skip_attention_scores": True}),
        perturbed_guidance_start=0.0,
        perturbed_guidance_stop=1.0,
    ),
}


def always(what):
    return {f"{what}_guidance_start": 0.0, f"{what}_guidance_stop": 1.0}


def by_maps(monkeypatch, pipe, config, video):
    """Let the denoisers attend by their maps, whose keys are filtered, in the place of the method's hooks."""
    filtered = dense(video, config.beta, config.tau)

    def attention(*args, **kwargs):
        # For layer skips that take the values themselves.
        states = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)]
        if torch._C._len_torch_function_stack():
            return torch.overrides.handle_torch_function(attention, states, *args, **kwargs)
        return filtered(*args, **kwargs)

    for denoiser in denoisers_of(pipe):
        forward = type(denoiser).forward

        def with_maps(*args, denoiser=denoiser, forward=forward, **kwargs):
            with monkeypatch.context() as context:
                context.setattr(F, "scaled_dot_product_attention", attention)
                return forward(denoiser, *args, **kwargs)

        monkeypatch.setattr(denoiser, "forward", with_maps)


@pytest.mark.parametrize("guider", GUIDERS)
def test_every_guider(guider, monkeypatch):
    # diffusers knows of Wan's attention how to skip it by the name that its class had before.
    known = AttentionProcessorRegistry.get(WanAttnProcessor2_0)
    monkeypatch.setitem(AttentionProcessorRegistry._registry, WanAttnProcessor, known)
    pipe, call = modular.wan(guider=GUIDERS[guider]())
    call = call | {"num_inference_steps": 3}
    vanilla = modular.run(pipe, call)
    with enhanced(pipe, ALWAYS):
        video = modular.run(pipe, call)
    assert (video - vanilla).abs().max() > 1e-2
    assert torch.equal(modular.run(pipe, call), vanilla)
    by_maps(monkeypatch, pipe, ALWAYS, (0, 4, 6))
    torch.testing.assert_close(modular.run(pipe, call), video, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["wan_2_2", "ltx"])
def test_every_pipeline(name, monkeypatch):
    pipe, call = getattr(modular, name)()
    vanilla = modular.run(pipe, call)
    apply_bytheway(pipe, ALWAYS)
    video = modular.run(pipe, call)
    assert (video - vanilla).abs().max() > 1e-2
    remove_bytheway(pipe)
    assert torch.equal(modular.run(pipe, call), vanilla)
    by_maps(monkeypatch, pipe, ALWAYS, TOKENS.get(name, (0, 4, 6)))
    torch.testing.assert_close(modular.run(pipe, call), video, rtol=1e-3, atol=1e-3)


def generate(pipe, call, **changes):
    run = modular.run if isinstance(pipe, ModularPipeline) else generate_standard
    return run(pipe, call, **changes)


@pytest.mark.parametrize("kinds", ["modular modular", "modular standard", "standard modular"])
@pytest.mark.parametrize("one_scheduler", [True, False])
def test_who_shares_the_denoiser_stays_as_they_are(kinds, one_scheduler):
    """Also with a scheduler of their own, whose steps are others."""
    standard, standard_call = joint.wan()
    scheduler = {"scheduler": standard.scheduler} if one_scheduler else {}
    first, second = (
        modular.wan(standard, **scheduler) if kind == "modular" else (standard, standard_call) for kind in kinds.split()
    )
    vanilla, expected = generate(*first), generate(*second, num_inference_steps=3)
    apply_bytheway(first[0], ALWAYS)
    assert torch.equal(generate(*second, num_inference_steps=3), expected)
    video = generate(*first)
    assert not torch.equal(video, vanilla)
    apply_bytheway(second[0], OTHER)
    other = generate(*second, num_inference_steps=3)
    assert not torch.equal(other, expected)
    assert torch.equal(generate(*first), video)
    remove_bytheway(first[0])
    assert torch.equal(generate(*first), vanilla)
    assert torch.equal(generate(*second, num_inference_steps=3), other)
    with enhanced(first[0], OTHER):
        generate(*first)
    remove_bytheway(second[0])
    assert torch.equal(generate(*second, num_inference_steps=3), expected)


def test_a_block_that_somebody_calls_is_its_pipelines():
    """As people try blocks out one by one; the pipeline is handed to each."""
    pipe, call = modular.wan()
    other, _ = modular.wan(pipe)
    vanilla = modular.run(other, call)
    apply_bytheway(pipe, ALWAYS)
    for one, video in {pipe: modular.run(pipe, call), other: vanilla}.items():
        state = PipelineState()
        settings = call | {"generator": torch.Generator().manual_seed(0)}
        for parameter in one.blocks.inputs:
            state.set(parameter.name, settings.get(parameter.name, parameter.default), parameter.kwargs_type)
        for block in one.blocks.sub_blocks["denoise"].sub_blocks.values():
            _, state = block(one, state)
        assert torch.equal(state.get("latents"), video)


def test_the_first_steps_are_active():
    pipe, call = modular.wan_2_2()
    with (
        enhanced(pipe, ALWAYS, active_steps=0.75),
        Watch(pipe.transformer, pipe.transformer_2) as watch,
    ):
        modular.run(pipe, call)
    # A conditional and an unconditional call a step.
    steps = [watch.active_calls(f"{n}.blocks.0.attn1.to_v")[::2] for n in (0, 1)]
    assert steps == [[True, True], [True, False]]


def test_the_second_transformer_alone():
    """Its first call is in the middle of the run, of whose steps the state of the blocks tells."""
    pipe, call = modular.wan_2_2()
    with enhanced(pipe.transformer_2, ALWAYS, active_steps=0.75), Watch(pipe.transformer, pipe.transformer_2) as watch:
        modular.run(pipe, call)
    assert [watch.active_calls(f"{n}.blocks.0.attn1.to_v")[::2] for n in (0, 1)] == [[False, False], [True, False]]


def test_a_shallow_copy_is_enhanced():
    pipe, call = modular.wan()
    apply_bytheway(pipe, ALWAYS)
    assert torch.equal(modular.run(copy.copy(pipe), call), modular.run(pipe, call))


# ------------------------------------------------------------------------------------- blocks of one's own


class SetTimesteps(ModularPipelineBlocks):
    expected_components = [ComponentSpec("scheduler")]  # noqa: RUF012
    inputs = [InputParam("num_inference_steps", default=2)]  # noqa: RUF012

    def __call__(self, components, state):
        components.scheduler.set_timesteps(state.get("num_inference_steps"))
        return components, state


class Denoise(ModularPipelineBlocks):
    """AnimateDiff's loop, guided by a guider: the conditions are calls of their own."""

    expected_components = [  # noqa: RUF012
        ComponentSpec("unet"),
        ComponentSpec("scheduler"),
        ComponentSpec("guider", guiders.ClassifierFreeGuidance, default_creation_method="from_config"),
    ]
    inputs = [InputParam(name) for name in ("latents", "text", "negative_text")]  # noqa: RUF012
    intermediate_outputs = [OutputParam("latents")]  # noqa: RUF012

    def __call__(self, components, state):
        block_state = self.get_block_state(state)
        guider, timesteps = components.guider, components.scheduler.timesteps
        for i, t in enumerate(timesteps):
            latents = block_state.latents
            guider.set_state(step=i, num_inference_steps=len(timesteps), timestep=t)
            conditions = guider.prepare_inputs_from_block_state(block_state, {"text": ("text", "negative_text")})
            for condition in conditions:
                guider.prepare_models(components.unet)
                condition.noise_pred = components.unet(
                    latents, t, condition.text.repeat_interleave(latents.shape[2], 0)
                ).sample
                guider.cleanup_models(components.unet)
            noise = guider(conditions)[0]
            block_state.latents = components.scheduler.step(noise, t, latents).prev_sample
        self.set_block_state(state, block_state)
        return components, state


def test_guiders_call_for_each_condition():
    """Two prompts in a batch are two conditional videos, and no unconditional half: each is what it is alone."""
    standard = tiny.make_pipeline()
    blocks = SequentialPipelineBlocks.from_blocks_dict({"timesteps": SetTimesteps(), "denoise": Denoise()})
    pipe = blocks.init_pipeline()
    pipe.update_components(unet=standard.unet, scheduler=standard.scheduler)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, 8, generator=generator)
    width = standard.unet.config.cross_attention_dim
    text, negative = torch.randn(2, 2, 3, width, generator=generator)

    def videos(chosen):
        return pipe(latents=latents[chosen], text=text[chosen], negative_text=negative[chosen], output="latents")

    vanilla = videos(slice(None))
    with enhanced(pipe, ByTheWayConfig(alpha=0.6, beta=2.0, tau=2, active_steps=1.0)) as run:
        together = videos(slice(None))
        count = len(run.record)
        alone = torch.cat([videos(slice(n, n + 1)) for n in range(2)])
    assert (together - vanilla).abs().max() > 1e-3
    assert len(run.record) == 2 * count
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert torch.equal(videos(slice(None)), vanilla)
