"""Attentions that are not called where they should be: said once a run by name, unless it is known why."""

import warnings

import pytest
import torch
from diffusers import (
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    LayerSkipConfig,
    PyramidAttentionBroadcastConfig,
    apply_layer_skip,
)
from diffusers.hooks import HookRegistry, ModelHook
from torch import nn
from torch.nn import functional as F

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe
from bytheway.errors import ByTheWayWarning
from tests.apply.joint_checks import ALWAYS, generate, tiny
from tests.toys import temporal
from tests.toys import tiny as animatediff
from tests.toys.joint import FACTORIES

MOTION = ByTheWayConfig(alpha=0.0, beta=3.0, tau=1, active_steps=0.5)
GUIDED = ByTheWayConfig(alpha=0.6, beta=2.0, tau=1, active_steps=0.5)


def said(run, *args, **changes):
    """What is said of attentions in a run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(*args, **changes)
    return [str(one.message) for one in caught if issubclass(one.category, ByTheWayWarning)]


def latte():
    pipe, call = temporal.latte()
    return pipe, pipe.transformer.temporal_transformer_blocks, lambda: temporal.run(pipe, call, steps=4)


def ignoring(module):
    """A forward that has the one before it, and does not call it."""
    before = module.forward

    def forward(hidden_states, *args, **kwargs):
        return hidden_states if before else None

    return forward


# ------------------------------------------------------------------------------------------------ what is said


def test_a_forward_that_ignores_the_one_before_it():
    """Once in every run, whenever it came."""
    pipe, blocks, run = latte()
    apply_bytheway(pipe, MOTION)
    assert said(run) == []
    blocks[0].attn1.forward = ignoring(blocks[0].attn1)
    expected = "LatteTransformer3DModel did not call temporal_transformer_blocks.0.attn1 in the first step of this run"
    for _ in range(2):
        (sentence,) = said(run)
        assert sentence.startswith(expected)
    del blocks[0].attn1.forward
    assert said(run) == []


def test_blocks_that_ignore_their_attentions():
    pipe, blocks, run = latte()
    apply_bytheway(pipe, MOTION)
    assert said(run) == []
    for block in blocks:
        block.forward = ignoring(block)
    (sentence,) = said(run)
    assert "did not call temporal_transformer_blocks.0.attn1 and 1 more" in sentence
    with observe(pipe) as watched:
        assert len(said(run)) == 1
    assert len(watched.record) == 0


def test_attentions_that_the_call_leaves_out():
    pipe, call = temporal.latte()
    apply_bytheway(pipe, MOTION)
    (sentence,) = said(temporal.run, pipe, call | {"enable_temporal_attentions": False}, steps=4)
    assert "did not call temporal_transformer_blocks.0.attn1 and 1 more" in sentence


def test_a_hook_of_ones_own_that_ignores_what_it_goes_around():
    class Own(ModelHook):
        def new_forward(self, module, hidden_states, *args, **kwargs):
            return hidden_states

    pipe, blocks, run = latte()
    apply_bytheway(pipe, MOTION)
    HookRegistry.check_if_exists_or_initialize(blocks[1].attn1).register_hook(Own(), "own")
    (sentence,) = said(run)
    assert "did not call temporal_transformer_blocks.1.attn1 in" in sentence


class Unprojected:
    """A processor that makes values past the projection."""

    def __call__(self, attn, hidden_states, *args, **kwargs):
        return attn.to_out[0](F.linear(hidden_states, attn.to_v.weight, attn.to_v.bias))


@pytest.mark.parametrize("how", ["processor", "forward"])
def test_joint_attention_past_its_projections(how):
    pipe, call = FACTORIES["wan"]()
    apply_bytheway(pipe, ALWAYS)
    assert said(generate, pipe, call) == []
    attention = pipe.transformer.blocks[1].attn1
    if how == "processor":
        attention.set_processor(Unprojected())
    else:
        attention.forward = lambda hidden_states, *_: Unprojected()(attention, hidden_states)
    (sentence,) = said(generate, pipe, call)
    assert sentence.startswith("WanTransformer3DModel did not call blocks.1.attn1 in the first step")


def test_both_transformers_of_wan():
    """The second one's first step is in the middle of the run."""
    pipe, call = FACTORIES["wan_2_2"]()
    for denoiser in (pipe.transformer, pipe.transformer_2):
        denoiser.blocks[0].attn1.set_processor(Unprojected())
    apply_bytheway(pipe, ALWAYS)
    assert len(said(generate, pipe, call)) == 2


def test_the_next_run_is_asked_anew():
    """Where a run ended in an error, and by another pipeline on the same denoiser."""
    pipe, blocks, run = latte()
    apply_bytheway(pipe, MOTION)
    own = blocks[0].attn1.forward = ignoring(blocks[0].attn1)
    blocks[1].forward = None
    assert own
    with pytest.raises(TypeError):
        said(run)
    del blocks[1].forward
    assert len(said(run)) == 1


# ------------------------------------------------------------------------- what was exchanged, and is enhanced


def test_an_attention_that_was_exchanged_is_enhanced():
    pipe, blocks, run = latte()
    apply_bytheway(pipe, MOTION)
    expected = run()
    blocks[0].attn1 = latte()[1][0].attn1
    assert torch.equal(run(), expected)


class Around(nn.Module):
    """As people wrap an attention to watch it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


class Foreign(nn.Module):
    def forward(self, hidden_states, *args, **kwargs):
        return hidden_states


@pytest.mark.parametrize("exchange", [Around, lambda _: Foreign()], ids=["wrapped", "foreign"])
def test_an_attention_in_whose_place_is_something_else(exchange):
    pipe, blocks, run = latte()
    apply_bytheway(pipe, MOTION)
    run()
    blocks[0].attn1 = exchange(blocks[0].attn1)
    with pytest.raises(ByTheWayError, match=r"temporal_transformer_blocks\.0\.attn1"):
        run()


@pytest.mark.parametrize("exchange", [Around, lambda _: Foreign()], ids=["wrapped", "foreign"])
def test_a_joint_attention_in_whose_place_is_something_else(exchange):
    pipe, call = FACTORIES["wan"]()
    apply_bytheway(pipe, ALWAYS)
    generate(pipe, call)
    pipe.transformer.blocks[0].attn1 = exchange(pipe.transformer.blocks[0].attn1)
    with pytest.raises(ByTheWayError, match=r"^blocks\.0\.attn1 is a \w+ with neither to_v nor to_qkv"):
        generate(pipe, call)


# ------------------------------------------------------------------------------------------- what stays quiet


def broadcast(pipe):
    pipe.transformer.enable_cache(
        PyramidAttentionBroadcastConfig(
            temporal_attention_block_skip_range=2,
            spatial_attention_block_skip_range=2,
            temporal_attention_timestep_skip_range=(-1, 1001),
            spatial_attention_timestep_skip_range=(-1, 1001),
            current_timestep_callback=lambda: 500,
        )
    )


def skip(fqn, **what):
    return lambda pipe: apply_layer_skip(pipe.transformer, LayerSkipConfig(indices=[0], fqn=fqn, **what))


@pytest.mark.parametrize(
    "wrap",
    [
        broadcast,
        skip("temporal_transformer_blocks", skip_ff=False),
        skip("temporal_transformer_blocks", skip_attention=False, skip_ff=False, skip_attention_scores=True),
    ],
    ids=["broadcast", "skip", "skip_scores"],
)
def test_caches_and_skips_of_diffusers(wrap):
    pipe, _, run = latte()
    apply_bytheway(pipe, MOTION)
    wrap(pipe)
    assert said(run) == []
    assert said(run) == []


@pytest.mark.parametrize(
    "wrap",
    [lambda pipe: pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0)), broadcast, skip("blocks")],
    ids=["first block", "broadcast", "skip"],
)
def test_caches_and_skips_around_joint_attention(wrap):
    pipe, call = FACTORIES["wan"]()
    apply_bytheway(pipe, ALWAYS)
    wrap(pipe)
    assert said(generate, pipe, call, num_inference_steps=4) == []


def test_a_cache_of_ones_own():
    """It computes in the first step, and that is what it hands out after."""
    pipe, blocks, run = latte()
    apply_bytheway(pipe, MOTION.replace(active_steps=1.0))
    own, calls = blocks[0].forward, []

    def caching(*args, **kwargs):
        calls.append(own(*args, **kwargs) if len(calls) % 4 == 0 else calls[-1])
        return calls[-1]

    blocks[0].forward = caching
    assert said(run) == []
    assert said(run) == []
    assert len(calls) == 8


def test_guidance_by_maps(tiny_pipeline):
    apply_bytheway(tiny_pipeline, GUIDED)
    assert said(animatediff.generate, tiny_pipeline) == []


def test_a_compiled_denoiser_in_a_loop_of_ones_own():
    """Of which the denoiser knows nothing."""
    torch._dynamo.reset()
    denoiser, call = FACTORIES["wan"]()[0].transformer, {"encoder_hidden_states": torch.zeros(1, 5, 12)}
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(2)
    apply_bytheway(denoiser, ALWAYS, scheduler=scheduler)
    compiled = torch.compile(denoiser, backend="eager")
    latents = torch.randn(1, 16, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    outputs = []

    def run(model):
        with torch.no_grad():
            outputs.append(model(latents, timestep=scheduler.timesteps[:1], **call, return_dict=False)[0])

    assert said(run, compiled) == []
    assert said(run, denoiser) == []
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.parametrize("how", ["in place", "component", "blocks"])
def test_compiled_joint_attention(how):
    """In graphs it is not seen what is called."""
    torch._dynamo.reset()
    pipe, call = FACTORIES["wan"]()
    with enhanced(tiny("wan")[0], ALWAYS):
        expected = generate(tiny("wan")[0], call)
    if how == "in place":
        pipe.transformer.compile(backend="eager")
    elif how == "component":
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    else:
        pipe.transformer.compile_repeated_blocks(backend="eager")
    apply_bytheway(pipe, ALWAYS)
    videos = []
    assert said(lambda: videos.append(generate(pipe, call))) == []
    torch.testing.assert_close(videos[0], expected, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
