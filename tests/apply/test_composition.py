"""Together with what else people do to a pipeline, before or after the method is applied."""

import accelerate
import pytest
import torch
from diffusers import AnimateDiffPAGPipeline
from diffusers.hooks import apply_group_offloading, apply_layerwise_casting
from diffusers.models.attention_processor import Attention
from diffusers.pipelines.free_noise_utils import SplitInferenceModule

from bytheway import ByTheWayConfig, apply_bytheway, enhanced, observe, remove_bytheway
from tests.apply.explicit import Watch, check_enhanced_sites
from tests.toys.techniques import load_ip_adapter, random_tensors, slice_attention
from tests.toys.tiny import generate, make_pipeline

CONFIG = ByTheWayConfig(active_steps=0.5)
ALWAYS = ByTheWayConfig(active_steps=1.0)


def load_lora(pipe):
    """LoRA on every projection of the temporal attentions of the decoder, as motion LoRAs have it."""
    lora = {}
    for path, module in pipe.unet.named_modules():
        if path.startswith("up_blocks") and "motion_modules" in path and isinstance(module, Attention):
            width = module.query_dim
            for projection in ("to_q", "to_k", "to_v", "to_out.0"):
                low, high = random_tensors(a=(4, width), b=(width, 4)).values()
                lora |= {
                    f"unet.{path}.{projection}.lora_A.weight": low,
                    f"unet.{path}.{projection}.lora_B.weight": high,
                }
    pipe.load_lora_weights(lora)


def enable_free_noise(pipe):
    pipe.enable_free_noise(context_length=8, context_stride=4)


def split_inference(pipe):
    pipe.enable_free_noise(context_length=8, context_stride=4)
    pipe.enable_free_noise_split_inference(spatial_split_size=10, temporal_split_size=5)


def offload_model(pipe):
    accelerate.cpu_offload_with_hook(pipe.unet, "cpu")


def offload_layers(pipe):
    accelerate.cpu_offload(pipe.unet, "cpu")


def offload_groups(pipe):
    apply_group_offloading(
        pipe.unet, onload_device=torch.device("cpu"), offload_device=torch.device("cpu"), offload_type="leaf_level"
    )


def cast_layers(pipe):
    apply_layerwise_casting(pipe.unet, storage_dtype=torch.bfloat16, compute_dtype=torch.float32)


IP_ADAPTER_INPUT = {"ip_adapter_image_embeds": [torch.ones(2, 1, 16)]}
TECHNIQUES = {
    "slicing": (lambda pipe: slice_attention(pipe.unet), {}),
    "lora": (load_lora, {}),
    "ip_adapter": (load_ip_adapter, IP_ADAPTER_INPUT),
    "free_noise": (enable_free_noise, {"num_frames": 14}),
    "split_inference": (split_inference, {"num_frames": 12}),
    "fused_projections": (lambda pipe: pipe.fuse_qkv_projections(vae=False), {}),
    "model_offload": (offload_model, {}),
    "layer_offload": (offload_layers, {}),
    "group_offload": (offload_groups, {}),
    "layerwise_casting": (cast_layers, {}),
    "freeu": (lambda pipe: pipe.enable_freeu(0.9, 0.2, 1.2, 1.4), {}),
}
# These change how, not what, the model computes.
SAME_VIDEO = ["slicing", "fused_projections", "model_offload", "layer_offload", "group_offload"]


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_before_or_after(name):
    """Applied after or before, the enhanced video is the same, is another than the plain one, and can be taken back."""
    technique, inputs = TECHNIQUES[name]
    earlier, later = make_pipeline(channels=(32, 32, 64)), make_pipeline(channels=(32, 32, 64))
    technique(earlier)
    plain = generate(earlier, **inputs)
    apply_bytheway(earlier, CONFIG)
    video = generate(earlier, **inputs)
    assert (video - plain).abs().max() > 1e-2

    apply_bytheway(later, CONFIG)
    if name in SAME_VIDEO:
        close(generate(later), video)
    technique(later)
    close(generate(later, **inputs), video)
    close(generate(later, **inputs), video)
    for pipe in (earlier, later):
        remove_bytheway(pipe)
        assert torch.equal(generate(pipe, **inputs), plain)


def test_lora_counts_as_much_as_in_the_weights():
    pipe, merged = make_pipeline(channels=(32, 32, 64)), make_pipeline(channels=(32, 32, 64))
    load_lora(pipe)
    load_lora(merged)
    merged.fuse_lora()
    merged.unload_lora_weights()
    with enhanced(pipe, CONFIG, record=False), enhanced(merged, CONFIG, record=False):
        close(generate(pipe), generate(merged))


def test_free_noise_windows_pair_with_the_anchors():
    pipe = make_pipeline(channels=(32, 32, 64))
    enable_free_noise(pipe)
    sizes = {"up_blocks.0": (2, 2), "up_blocks.1": (4, 4), "up_blocks.2": (8, 8)}
    with Watch(pipe.unet) as watch, enhanced(pipe, ALWAYS) as run:
        generate(pipe, num_frames=14, num_inference_steps=1)
    windows = 3
    assert check_enhanced_sites(pipe.unet, watch.seen, ALWAYS, sizes, [1, 1]) == 12 * windows
    assert {row.window for row in run.record.rows()} == set(range(windows))
    assert len(run.record) == 12 * windows


def test_free_noise_comes_and_goes():
    pipe = make_pipeline(channels=(32, 32))
    apply_bytheway(pipe, CONFIG)
    video = generate(pipe)
    enable_free_noise(pipe)
    generate(pipe, num_frames=12)
    pipe.disable_free_noise()
    close(generate(pipe), video)


def test_split_inference_runs_whole_while_active():
    """One beta for all pixels of a video: in pieces it could not be known; outside the window the pieces stay."""
    pipe, whole = make_pipeline(channels=(32, 32)), make_pipeline(channels=(32, 32))
    split_inference(pipe)
    enable_free_noise(whole)
    calls = []
    block = pipe.unet.up_blocks[0].motion_modules[0].transformer_blocks[0]
    assert isinstance(block, SplitInferenceModule)
    block.module.register_forward_hook(lambda module, args, output: calls.append(len(output)))
    with enhanced(pipe, CONFIG, record=False), enhanced(whole, CONFIG, record=False):
        close(generate(pipe, num_frames=12), generate(whole, num_frames=12))
    rows = 2 * 4 * 4
    assert calls == [rows, 10, 10, 10, rows - 30]


def test_perturbed_attention_guidance_sends_three_parts():
    pipe = make_pipeline(channels=(32, 32, 64))
    perturbed = AnimateDiffPAGPipeline(**pipe.components, pag_applied_layers="mid_block.attentions")
    perturbed.set_progress_bar_config(disable=True)
    sizes = {"up_blocks.0": (2, 2), "up_blocks.1": (4, 4), "up_blocks.2": (8, 8)}
    for guidance_scale, conditional in ((5.0, [1, 1, 1]), (1.0, [0, 0])):
        with Watch(pipe.unet) as watch, enhanced(perturbed, ALWAYS, record=False):
            generate(perturbed, num_inference_steps=1, guidance_scale=guidance_scale, pag_scale=3.0)
        assert check_enhanced_sites(pipe.unet, watch.seen, ALWAYS, sizes, conditional) == 12


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.03), (torch.bfloat16, 0.25)])
def test_half_precision(dtype, tolerance):
    pipe = make_pipeline(channels=(32, 32, 64))
    latents = torch.randn(1, 4, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    with enhanced(pipe, CONFIG) as exact:
        video = generate(pipe, latents=latents)
    settings = {"latents": latents.to(dtype)}
    pipe = make_pipeline(channels=(32, 32, 64), dtype=dtype)
    plain = generate(pipe, **settings)
    with enhanced(pipe, CONFIG) as run:
        half = generate(pipe, **settings)
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), video, rtol=tolerance, atol=tolerance)
    for rough, fine in zip(run.record.rows(), exact.record.rows(), strict=True):
        assert rough.energy == pytest.approx(fine.energy, rel=tolerance)
        assert rough.beta == pytest.approx(fine.beta, rel=tolerance)
    with observe(pipe):
        assert torch.equal(generate(pipe, **settings), plain)
    assert torch.equal(generate(pipe, **settings), plain)
    with enhanced(pipe, ALWAYS, alpha=0, beta=1):
        torch.testing.assert_close(generate(pipe, **settings), plain, rtol=tolerance, atol=tolerance)


def test_a_denoiser_moved_to_another_dtype_after_applying():
    pipe = make_pipeline(channels=(32, 32))
    apply_bytheway(pipe, CONFIG)
    generate(pipe)
    pipe.to(torch.bfloat16)
    assert generate(pipe).dtype == torch.bfloat16
