"""Motion enhancement in models with joint space-time attention: the definition, and that nothing else changes."""

import re

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe, remove_bytheway
from bytheway.attention import joint
from bytheway.attention.joint import filter_frames_
from bytheway.attention.layout import VideoTokens
from bytheway.families.known import denoisers_of, preset_for
from bytheway.families.sites import TemporalAttention
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.method import frequency_filter
from tests.apply.joint_checks import ALWAYS, TOKENS, Watch, dense, first_layer, generate, tiny, traces
from tests.toys.joint import FACTORIES

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
]

TEXT_TO_VIDEO = ("cogvideox", "wan", "hunyuanvideo", "ltx", "mochi")
everywhere = pytest.mark.parametrize("name", FACTORIES)


def circulant(frames: int, tau: int, beta: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return frequency_filter(frames, tau, beta, dtype=torch.promote_types(dtype, torch.float32), device=device)


@pytest.mark.parametrize(("video", "tokens"), [((3, 5, 4), 25), ((0, 6, 2), 12), ((0, 4, 3), 17), ((2, 1, 7), 9)])
@pytest.mark.parametrize("tau", [0, 1, 7])
def test_filtering_the_values_is_filtering_the_map(video, tokens, tau):
    query, key, value = torch.randn(3, 2, tokens, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = dense(video, 3.0, tau)(query, key, value)
    own = value.clone()
    matrix = circulant(video[1], tau, 3.0, value.dtype, value.device)
    filter_frames_(value, matrix, VideoTokens(*video))
    torch.testing.assert_close(F.scaled_dot_product_attention(query, key, value), expected, rtol=1e-12, atol=1e-12)
    start, stop = video[0], video[0] + video[1] * video[2]
    assert torch.equal(value[:, :start], own[:, :start])
    assert torch.equal(value[:, stop:], own[:, stop:])


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_rounded_once(autocast):
    """What does not move stays as it is, bit for bit: a rounded filter would scale it."""
    video, matrix = VideoTokens(1, 21, 3), circulant(21, 10, 1.5, torch.bfloat16, torch.device("cpu"))
    noise = torch.randn(2, 64, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    still = noise[:, 1:4].repeat(1, 21, 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert torch.equal(filter_frames_(torch.cat([noise[:, :1], still], 1), matrix, video)[:, 1:], still)
        filtered = filter_frames_(noise.clone(), matrix, video)
    exact = filter_frames_(noise.double(), circulant(21, 10, 1.5, torch.float64, torch.device("cpu")), video)
    torch.testing.assert_close(filtered.double(), exact, rtol=2**-8, atol=1e-6)


class Largest(TorchDispatchMode):
    """How many elements the largest float32 tensor has that is made."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float32:
            self.elements = max(self.elements, made.numel())
        return made


def test_no_wide_copy_is_made_of_all_values(monkeypatch):
    video, matrix = VideoTokens(2, 7, 5), circulant(7, 3, 1.5, torch.bfloat16, torch.device("cpu"))
    value = torch.randn(2, 40, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    whole = filter_frames_(value.clone(), matrix, video)
    monkeypatch.setattr(joint, "_CHUNK", 2 * 2 * 7 * 4)
    with Largest() as largest:
        parts = filter_frames_(value.clone(), matrix, video)
    assert largest.elements == 2 * 2 * 7 * 4
    torch.testing.assert_close(parts, whole, rtol=2**-7, atol=1e-6)


def test_gradients_pass_through_the_filter():
    matrix = circulant(4, 1, 2.0, torch.float64, torch.device("cpu"))
    value = torch.zeros(1, 8, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (filter_frames_(value.clone(), matrix, VideoTokens(0, 4, 2)) * weight).sum().backward()
    torch.testing.assert_close(value.grad, filter_frames_(weight.clone(), matrix, VideoTokens(0, 4, 2)))


@everywhere
def test_the_video_is_that_of_filtered_maps(name, monkeypatch):
    pipe, call, vanilla = tiny(name)
    with enhanced(pipe, ALWAYS):
        video = generate(pipe, call)
    assert (video - vanilla).abs().max() > 1e-2
    attention = dense(TOKENS.get(name, (0, 4, 6)), ALWAYS.beta, ALWAYS.tau)
    own = F.scaled_dot_product_attention

    def attending(by, forward):
        def run(*args, **kwargs):
            with monkeypatch.context() as context:
                context.setattr(F, "scaled_dot_product_attention", by)
                return forward(*args, **kwargs)

        return run

    for denoiser in denoisers_of(pipe):
        monkeypatch.setattr(denoiser, "forward", attending(attention, denoiser.forward))
        for block in getattr(denoiser, "vace_blocks", ()):  # of the control
            monkeypatch.setattr(block, "forward", attending(own, block.forward))
    torch.testing.assert_close(generate(pipe, call), video, rtol=1e-4, atol=1e-5)


SELF_ATTENTIONS = {
    "cogvideox": r"transformer_blocks\.\d\.attn1\.to_v",
    "wan": r"blocks\.\d\.attn1\.to_v",
    "wan_image2video": r"blocks\.\d\.attn1\.to_v",
    "wan_vace": r"blocks\.\d\.attn1\.to_v",
    "wan_vace_references": r"blocks\.\d\.attn1\.to_v",
    "wan_animate": r"blocks\.\d\.attn1\.to_v",
    "framepack": r"(single_)?transformer_blocks\.\d\.attn\.to_v",
    "hunyuanvideo": r"(single_)?transformer_blocks\.\d\.attn\.to_v",
    "ltx_condition": r"transformer_blocks\.\d\.attn1\.to_v",
    "mochi": r"transformer_blocks\.\d\.attn1\.to_v",
}


@pytest.mark.parametrize(("name", "pattern"), SELF_ATTENTIONS.items())
def test_only_values_of_the_video_are_filtered(name, pattern):
    """Not those of the text, keyframes, references or history, in cross-attention, or in what reads text or control."""
    pipe, call, _ = tiny(name)
    start, frames, per_frame = TOKENS.get(name, (0, 4, 6))
    with enhanced(pipe, ALWAYS), Watch(pipe.transformer) as watch:
        generate(pipe, call)
    for path, changed in watch.seen:
        expected = torch.zeros_like(changed)
        if re.fullmatch(rf"0\.{pattern}", path):
            expected[start : start + frames * per_frame] = True
        assert torch.equal(changed, expected)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("cogvideox", [True] * 2 + [False] * 2),
        ("cogvideox_video2video", [True, False]),
        # An unconditional and a conditional call a step.
        ("wan", [True] * 4 + [False] * 4),
        ("wan_first_frame", [True] * 4 + [False] * 4),
        ("wan_video2video", [True] * 2 + [False] * 2),
        ("wan_vace", [True] * 4 + [False] * 4),
        ("wan_animate", [True] * 4 + [False] * 4),
        ("hunyuanvideo", [True] * 2 + [False] * 2),
        ("framepack", [True] * 2 + [False] * 2),
        ("ltx_image2video", [True] * 2 + [False] * 2),
        ("ltx_condition", [True] * 2 + [False] * 2),
        ("mochi", [True] * 2 + [False] * 2),
    ],
)
def test_the_first_steps_are_active(name, calls):
    pipe, call, _ = tiny(name)
    with enhanced(pipe, ALWAYS, active_steps=0.5), Watch(pipe.transformer) as watch:
        generate(pipe, call, num_inference_steps=4)
    assert watch.active_calls(first_layer(pipe)) == calls


@pytest.mark.parametrize("name", ["mochi", "hunyuanvideo", "wan_first_frame", "framepack", "wan_vace"])
def test_half_precision_does_not_hide_the_step(name):
    """Pipelines round the timestep, or make one for each token: in bfloat16 neighbours become equal."""
    pipe, call = FACTORIES[name]()
    pipe.to(torch.bfloat16)
    call = {key: value.bfloat16() if key.endswith("embeds") else value for key, value in call.items()}
    with enhanced(pipe, ALWAYS, active_steps=0.2), Watch(pipe.transformer) as watch:
        assert generate(pipe, call, num_inference_steps=40).isfinite().all()
    calls = watch.active_calls(first_layer(pipe))
    assert calls == [True] * (len(calls) // 5) + [False] * (len(calls) - len(calls) // 5)


@pytest.mark.parametrize("active_steps", [0.25, 0.75])
def test_both_transformers_of_wan(active_steps):
    pipe, call, vanilla = tiny("wan_2_2")
    with enhanced(pipe, ALWAYS, active_steps=active_steps), Watch(pipe.transformer, pipe.transformer_2) as watch:
        video = generate(pipe, call)
    steps = [watch.active_calls(f"{n}.blocks.0.attn1.to_v")[::2] for n in (0, 1)]
    assert steps == {0.25: [[True, False], [False, False]], 0.75: [[True, True], [True, False]]}[active_steps]
    assert not torch.equal(video, vanilla)
    assert torch.equal(generate(pipe, call), vanilla)


def test_the_second_transformer_alone():
    pipe, call, _ = tiny("wan_2_2")
    with enhanced(pipe.transformer_2, ALWAYS, active_steps=0.75), Watch(pipe.transformer, pipe.transformer_2) as watch:
        generate(pipe, call)
    assert [watch.active_calls(f"{n}.blocks.0.attn1.to_v")[::2] for n in (0, 1)] == [[False, False], [True, False]]


@everywhere
def test_remove_leaves_no_trace(name):
    pipe, call, vanilla = tiny(name)
    before = traces(pipe)
    apply_bytheway(pipe, ALWAYS)
    assert not torch.equal(generate(pipe, call), vanilla)
    remove_bytheway(pipe)
    assert traces(pipe) == before
    assert torch.equal(generate(pipe, call), vanilla)


@pytest.mark.parametrize("name", TEXT_TO_VIDEO)
def test_nothing_to_do_is_vanilla_bit_for_bit(name):
    pipe, call, vanilla = tiny(name)
    for changes in ({"beta": 1.0}, {"active_steps": 0.0}):
        with enhanced(pipe, ALWAYS.replace(**changes)):
            assert torch.equal(generate(pipe, call), vanilla)
    image = generate(pipe, call, num_frames=1)
    with enhanced(pipe, ALWAYS):
        assert torch.equal(generate(pipe, call, num_frames=1), image)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_video_alone_is_the_video_in_a_batch(factor):
    pipe, call, _ = tiny("cogvideox")
    batch = {key: torch.cat([value] * factor) if key.endswith("embeds") else value for key, value in call.items()}
    generators = [torch.Generator().manual_seed(seed) for seed in range(factor)]
    with enhanced(pipe, ALWAYS):
        alone = generate(pipe, call)
        together = generate(pipe, batch, generator=generators)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FACTORIES)
def test_presets_have_motion_enhancement_alone(name):
    pipe, call, vanilla = tiny(name)
    config = preset_for(pipe).config
    assert (config.alpha, config.beta) == (0, 1.5)
    with enhanced(pipe) as run:
        assert not torch.equal(generate(pipe, call), vanilla)
    assert run.config == config
    # There are no temporal maps to measure.
    assert run.record.rows() == []


def test_what_cannot_be():
    pipe, _, _ = tiny("cogvideox")
    before = traces(pipe)
    with pytest.raises(ByTheWayError, match=r"alpha is 0\.6, and CogVideoX attends .* give alpha=0"):
        apply_bytheway(pipe, ByTheWayConfig())
    with pytest.raises(ByTheWayError, match=r"anchor_block and guided_blocks .* leave them out"):
        apply_bytheway(pipe, ALWAYS.replace(anchor_block="transformer_blocks.0"))
    with pytest.raises(ByTheWayError, match="no temporal maps"), observe(pipe):
        pass
    with enhanced(pipe, ALWAYS), pytest.raises(ByTheWayError, match="sites= lists temporal attentions"):
        apply_bytheway(pipe, ALWAYS, sites=[TemporalAttention("transformer_blocks.0.attn1", "transformer_blocks.0")])
    assert traces(pipe) == before


def test_a_record_of_a_clip_is_refused():
    request = Request(prompts=("a red ball",), seed=0, num_frames=5, width=48, height=32, steps=2, record=True)
    with pytest.raises(ByTheWayError, match=r"\(WanPipeline\) has no temporal attention maps .* leave the record out"):
        check(request, tiny("wan")[0])


def test_a_denoiser_without_blocks_is_named():
    pipe, _ = FACTORIES["cogvideox"](num_layers=0)
    with pytest.raises(ByTheWayError, match=r"This CogVideoXTransformer3DModel has no self-attention .*attn1"):
        apply_bytheway(pipe)


def test_tokens_that_are_missing():
    with pytest.raises(ByTheWayError, match="given 7 tokens where 4 frames of 2 should be"):
        filter_frames_(torch.zeros(1, 7, 3), torch.eye(4), VideoTokens(0, 4, 2))
