"""What diffusers, accelerate and users put around the hooked modules, in any order, taken off or put on anew."""

from functools import partial

import accelerate
import diffusers
import pytest
import torch
from diffusers import FasterCacheConfig, LayerSkipConfig, PyramidAttentionBroadcastConfig, WanPipeline, apply_layer_skip
from diffusers.hooks import HookRegistry, apply_pyramid_attention_broadcast
from peft import LoraConfig, get_peft_model_state_dict

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, remove_bytheway
from tests.apply.explicit import Watch, explicit_map
from tests.apply.joint_checks import ALWAYS, generate, tiny
from tests.toys import temporal
from tests.toys import tiny as animatediff
from tests.toys.joint import FACTORIES

MOTION = ByTheWayConfig(alpha=0.0, beta=3.0, tau=1, active_steps=0.5)
GUIDED = ByTheWayConfig(alpha=0.6, beta=2.0, tau=1, active_steps=1.0)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Stable Video Diffusion
    pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning"),  # FasterCache
]
PAB = "pyramid_attention_broadcast"


def latte():
    pipe, call = temporal.latte()
    return pipe, pipe.transformer, lambda: temporal.run(pipe, call, steps=4)


def text_to_video():
    pipe, call = temporal.text_to_video(channels=(32, 32))
    return pipe, pipe.unet, lambda: temporal.run(pipe, call, steps=4)


def svd():
    pipe, call = temporal.stable_video_diffusion()
    return pipe, pipe.unet, lambda: temporal.run(pipe, call, steps=4)


def motion_modules():
    pipe = animatediff.make_pipeline(channels=(32, 32))
    return pipe, pipe.unet, partial(animatediff.generate, pipe)


PIPELINES = {factory.__name__: factory for factory in (latte, text_to_video, svd, motion_modules)}


def broadcast(pipe, denoiser):
    config = PyramidAttentionBroadcastConfig(
        temporal_attention_block_skip_range=2,
        temporal_attention_timestep_skip_range=(-1, 1001),
        temporal_attention_block_identifiers=("temporal_transformer", "motion_modules", "temp_attentions"),
        current_timestep_callback=lambda: 500,
    )
    apply_pyramid_attention_broadcast(denoiser, config)


def take_off(denoiser, name=PAB):
    HookRegistry.check_if_exists_or_initialize(denoiser).remove_hook(name, recurse=True)


def faster_cache(pipe, temporal_attention_timestep_skip_range=(-1, 1001)):
    pipe.transformer.enable_cache(
        FasterCacheConfig(
            temporal_attention_block_skip_range=2,
            spatial_attention_block_skip_range=2,
            temporal_attention_timestep_skip_range=temporal_attention_timestep_skip_range,
            spatial_attention_timestep_skip_range=(-1, 1001),
            unconditional_batch_skip_range=2,
            unconditional_batch_timestep_skip_range=(-1, 1001),
            attention_weight_callback=lambda _: 0.5,
            current_timestep_callback=lambda: pipe.current_timestep,
        )
    )


def skip(denoiser, **what):
    settings = {"skip_attention": False, "skip_ff": False} | what
    apply_layer_skip(denoiser, LayerSkipConfig(indices=[0], fqn="temporal_transformer_blocks", **settings))


# ------------------------------------------------------------------------------------------------- offloading


@pytest.fixture
def offload(monkeypatch):
    """Sequential offloading from the CPU to the CPU.

    It leaves plain tensors where parameters were, on which accelerate then fails; and diffusers, which takes it off
    and puts it on again where a LoRA is loaded, asks for an accelerator.
    """
    own_set = accelerate.hooks.set_module_tensor_to_device

    def set_tensor(module, name, *args, **kwargs):
        if name in module._parameters and not isinstance(module._parameters[name], torch.nn.Parameter):
            module._parameters[name] = torch.nn.Parameter(module._parameters[name], requires_grad=False)
        return own_set(module, name, *args, **kwargs)

    monkeypatch.setattr(accelerate.hooks, "set_module_tensor_to_device", set_tensor)
    own_offload = diffusers.DiffusionPipeline.enable_sequential_cpu_offload

    def to_cpu(pipe, gpu_id=None, device=None):
        own_offload(pipe, device="cpu")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "enable_sequential_cpu_offload", to_cpu)
    return lambda pipe: pipe.enable_sequential_cpu_offload()


@pytest.mark.parametrize("name", ["wan", "cogvideox"])
@pytest.mark.parametrize("offloaded_before", [False, True])
def test_sequential_offloading_put_on_anew(offload, name, offloaded_before):
    reference, call, vanilla = tiny(name)
    with enhanced(reference, ALWAYS):
        expected = generate(reference, call)
    pipe, call = FACTORIES[name]()
    if offloaded_before:
        offload(pipe)
    apply_bytheway(pipe, ALWAYS)
    for _ in range(2):
        offload(pipe)
        torch.testing.assert_close(generate(pipe, call), expected, rtol=1e-4, atol=1e-5)
    remove_bytheway(pipe)
    assert torch.equal(generate(pipe, call), vanilla)


def test_a_lora_loaded_into_an_offloaded_pipeline(offload, tmp_path):
    """For which diffusers takes offloading off and puts it on again."""
    donor, call = FACTORIES["wan"]()
    donor.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False))
    WanPipeline.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(donor.transformer))
    reference, _ = FACTORIES["wan"]()
    reference.load_lora_weights(tmp_path)
    vanilla = generate(reference, call)
    with enhanced(reference, ALWAYS):
        expected = generate(reference, call)
    pipe, _ = FACTORIES["wan"]()
    offload(pipe)
    apply_bytheway(pipe, ALWAYS)
    generate(pipe, call)
    pipe.load_lora_weights(tmp_path)
    torch.testing.assert_close(generate(pipe, call), expected, rtol=1e-4, atol=1e-5)
    remove_bytheway(pipe)
    torch.testing.assert_close(generate(pipe, call), vanilla, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------- caches and skips


@pytest.mark.parametrize("name", PIPELINES)
def test_a_cache_that_came_first_goes_alone(name):
    pipe, denoiser, run = PIPELINES[name]()
    vanilla = run()
    with enhanced(pipe, MOTION):
        expected = run()
    broadcast(pipe, denoiser)
    assert not torch.equal(run(), vanilla)
    apply_bytheway(pipe, MOTION)
    take_off(denoiser)
    assert torch.equal(run(), expected)
    remove_bytheway(pipe)
    assert torch.equal(run(), vanilla)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_cache_put_on_anew_stays(name):
    pipe, denoiser, run = PIPELINES[name]()
    broadcast(pipe, denoiser)
    cached = run()
    take_off(denoiser)
    broadcast(pipe, denoiser)
    apply_bytheway(pipe, MOTION)
    take_off(denoiser)
    broadcast(pipe, denoiser)
    remove_bytheway(pipe)
    assert torch.equal(run(), cached)


def both_orders(wrap):
    """The clip of Latte under the method and something else, whichever comes first; with nothing, and without it."""
    clips = []
    for method_first in (True, False):
        pipe, denoiser, run = latte()
        alone = run()
        if method_first:
            apply_bytheway(pipe, MOTION.replace(active_steps=1.0))
        wrap(pipe, denoiser)
        if not method_first:
            clips.append(run())
            wrapped = clips.pop()
            reset(denoiser)
            apply_bytheway(pipe, MOTION.replace(active_steps=1.0))
        clips.append(run())
    first, second = clips
    assert torch.equal(first, second)
    assert (first - wrapped).abs().max() > 1e-3
    assert (wrapped - alone).abs().max() > 1e-3
    return first, wrapped


def reset(denoiser):
    HookRegistry.check_if_exists_or_initialize(denoiser).reset_stateful_hooks()


@pytest.mark.parametrize(
    "wrap",
    [
        broadcast,
        lambda pipe, _: faster_cache(pipe),
        lambda _, denoiser: skip(denoiser, skip_attention=True),
        lambda _, denoiser: skip(denoiser, skip_attention_scores=True),
    ],
    ids=["broadcast", "FasterCache", "skip", "skip_scores"],
)
def test_whichever_comes_first(wrap):
    both_orders(wrap)


@pytest.mark.parametrize("videos", [1, 2])
def test_a_cache_that_makes_the_conditional_part_alone(videos):
    """FasterCache leaves out the unconditional half below the denoiser's call: energies are those of each video."""
    pipe, call = temporal.latte(videos=videos)
    faster_cache(pipe, temporal_attention_timestep_skip_range=(1001, 1002))  # all temporal attentions are computed
    with enhanced(pipe, MOTION, active_steps=1.0) as one, Watch(pipe.transformer, MOTION) as watch:
        temporal.run(pipe, call, steps=4)
    rows, sizes = one.record.rows(), set()
    for path, calls in watch.seen.items():
        module = pipe.transformer.get_submodule(path)
        maps = [explicit_map(module, states, (4, 8))[-videos:] for states, _ in calls]
        sizes |= {len(states) // 32 for states, _ in calls}
        energies = torch.cat([attn.square().sum(-1).mean((1, 2, 3)) for attn in maps])
        recorded = [row.energy for row in rows if path == f"{row.block}.attn1"]
        torch.testing.assert_close(torch.tensor(recorded), energies)
    assert sizes == {videos, 2 * videos}
    assert len(rows) == videos * sum(map(len, watch.seen.values()))


def test_a_batch_that_is_cut_up_is_refused():
    pipe, denoiser, run = latte()
    attention = denoiser.temporal_transformer_blocks[0].attn1
    attention.register_forward_pre_hook(lambda _, args: (args[0][1:], *args[1:]))
    with enhanced(pipe, MOTION), pytest.raises(ByTheWayError, match="with 63 rows where 2 x 4 x 8 should be"):
        run()


def in_halves(forward):
    """A forward that runs the two halves of a batch one after the other, to save memory."""

    def halves(first, *args, **kwargs):
        batch = len(first)
        split = [
            (
                [one[part] if len(one) == batch else one for one in args],
                {
                    name: one[part] if torch.is_tensor(one) and len(one) == batch else one
                    for name, one in kwargs.items()
                },
            )
            for part in (slice(0, batch // 2), slice(batch // 2, batch))
        ]
        outputs = [forward(half, *more, **named) for half, (more, named) in zip(first.chunk(2), split, strict=True)]
        return torch.cat(outputs)

    return halves


def test_a_block_that_runs_the_batch_in_halves(tiny_pipeline):
    """Each half is filtered by itself where nothing is guided, and refused where the anchor's maps are of both."""
    apply_bytheway(tiny_pipeline, MOTION)
    expected = animatediff.generate(tiny_pipeline)
    module = tiny_pipeline.unet.up_blocks[2].motion_modules[0]
    module.forward = in_halves(module.forward)
    torch.testing.assert_close(animatediff.generate(tiny_pipeline), expected, rtol=1e-4, atol=1e-4)
    apply_bytheway(tiny_pipeline, GUIDED)
    with pytest.raises(
        ByTheWayError, match=r"up_blocks\.2\.motion_modules\.0.* something on the way cuts up the batch"
    ):
        animatediff.generate(tiny_pipeline)


def test_what_is_skipped_is_not_enhanced():
    """Identity for the map is what the module does by itself; the other blocks are enhanced."""
    pipe, denoiser, run = latte()
    skip(denoiser, skip_attention_scores=True)
    with enhanced(pipe, MOTION) as one:
        run()
    assert len(one.record) > 0
    assert {row.block for row in one.record.rows()} == {"temporal_transformer_blocks.1"}


# --------------------------------------------------------------------------------------- forwards of one's own


def test_a_wrapper_of_ones_own_comes_and_goes(tiny_pipeline):
    """One that calls what was there before, put on and taken off as people do it."""
    pipe = tiny_pipeline
    vanilla = animatediff.generate(pipe)
    apply_bytheway(pipe, GUIDED)
    expected = animatediff.generate(pipe)
    site = pipe.unet.up_blocks[1].motion_modules[0].transformer_blocks[0].attn1
    own, calls = site.forward, []

    def counting(*args, **kwargs):
        calls.append(args)
        return own(*args, **kwargs)

    site.forward = counting
    assert torch.equal(animatediff.generate(pipe), expected)
    assert calls
    site.forward = own
    assert torch.equal(animatediff.generate(pipe), expected)
    site.forward = counting
    remove_bytheway(pipe)
    assert torch.equal(animatediff.generate(pipe), vanilla)
    apply_bytheway(pipe, GUIDED)
    assert torch.equal(animatediff.generate(pipe), expected)
    remove_bytheway(pipe)
    del site.forward
    assert torch.equal(animatediff.generate(pipe), vanilla)


def test_a_block_left_out_by_a_cache(tiny_pipeline):
    """As DeepCache does: the anchor block is not called in a step, and what comes after it is."""
    pipe = tiny_pipeline
    apply_bytheway(pipe, GUIDED)
    animatediff.generate(pipe)
    block = pipe.unet.up_blocks[1]
    own, kept = block.forward, []

    def skipping(*args, **kwargs):
        if not kept:
            kept.append(own(*args, **kwargs))
        return kept[0]

    block.forward = skipping
    with pytest.raises(ByTheWayError, match="a cache or a layer skip leaves that block out; take the cache off"):
        animatediff.generate(pipe)
    kept.clear()
    apply_bytheway(pipe, MOTION)
    animatediff.generate(pipe)
