"""Tiny pipelines with temporal attention beside the AnimateDiff family: one function for each class of diffusers.

Each returns (pipe, call): `run(pipe, call)` makes latents of `videos` clips of `frames` frames, so that tests need not
know what else a pipeline asks for. UNets have `channels` in their levels, finest first; latents are smaller than the
frames by a factor of 2 ** (vae_levels - 1). Weights are random and seeded; those that make the temporal maps are scaled
up, so that the maps are far from uniform. Classes that this diffusers does not have are left out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    EulerDiscreteScheduler,
    I2VGenXLUNet,
    LatteTransformer3DModel,
    UNet3DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from PIL import Image
from torch import nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.toys.tiny import make_text_encoder, make_tokenizer, make_vae

Made = tuple[Any, dict[str, Any]]
Channels = tuple[int, ...]

HEIGHT, WIDTH = 16, 32
# Latents are half the size of the frames.
LATENT_SIZE = (8, 16)
PROMPTS = ("a red ball bounces", "a blue star turns", "a red star on snow")
CHANNELS: Final = (32, 32, 64, 64)


def text_to_video(videos: int = 1, frames: int = 6, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """TextToVideoSDPipeline (ModelScope, ZeroScope)."""
    pipe = diffusers.TextToVideoSDPipeline(unet=_unet3d(channels), scheduler=_ddim(), **_text_and_vae(vae_levels))
    return _ready(pipe), _sized(frames) | {"prompt": list(PROMPTS[:videos])}


def video_to_video(videos: int = 1, frames: int = 6, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """VideoToVideoSDPipeline: of the steps asked for, the last half is run."""
    pipe = diffusers.VideoToVideoSDPipeline(unet=_unet3d(channels), scheduler=_ddim(), **_text_and_vae(vae_levels))
    call = {"prompt": list(PROMPTS[:videos]), "video": _images(frames), "strength": 0.5, "output_type": "latent"}
    return _ready(pipe), call


def i2vgenxl(videos: int = 1, frames: int = 6, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """I2VGenXLPipeline."""
    torch.manual_seed(0)
    unet = I2VGenXLUNet(
        sample_size=8,
        **_levels(channels, "3D"),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    pipe = diffusers.I2VGenXLPipeline(
        unet=unet,
        image_encoder=_image_encoder(32, patch_size=8),
        feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
        scheduler=_ddim(),
        **_text_and_vae(vae_levels),
    )
    # Skipping a layer of the text encoder, as it does by default, does not go with every version of transformers.
    call = {"prompt": list(PROMPTS[:videos]), "image": _images(videos), "clip_skip": None}
    return _ready(pipe), _sized(frames) | call


def stable_video_diffusion(
    videos: int = 1, frames: int = 6, channels: Channels = CHANNELS, vae_levels: int = 2
) -> Made:
    """StableVideoDiffusionPipeline, with its own decoder and its continuous timesteps."""
    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8,
        **_levels(channels, "SpatioTemporal"),
        layers_per_block=1,
        cross_attention_dim=32,
        num_attention_heads=tuple(width // 8 for width in channels),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        num_frames=frames,
    )
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32,) * vae_levels, down_block_types=("DownEncoderBlock2D",) * vae_levels
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="leading",
        timestep_type="continuous",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        steps_offset=1,
    )
    pipe = diffusers.StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=_image_encoder(224, patch_size=112),
        unet=unet,
        scheduler=scheduler,
        feature_extractor=CLIPImageProcessor(crop_size=224, size=224),
    )
    return _ready(pipe), _sized(frames) | {"image": _images(videos)}


def latte(videos: int = 1, frames: int = 6, vae_levels: int = 2) -> Made:
    """LattePipeline, with embeddings in place of its large text encoder."""
    torch.manual_seed(0)
    transformer = LatteTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=32,
        attention_bias=True,
        sample_size=8,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=16,
        video_length=frames,
    )
    embeds, negative = torch.randn(len(PROMPTS), 5, 16)[:videos], torch.randn(1, 5, 16).expand(videos, -1, -1)
    pipe = diffusers.LattePipeline(
        vae=make_vae(vae_levels), text_encoder=None, tokenizer=None, transformer=transformer, scheduler=_ddim()
    )
    call = _sized(frames) | {"prompt_embeds": embeds, "negative_prompt_embeds": negative, "negative_prompt": None}
    call["video_length"] = call.pop("num_frames")
    return _ready(pipe), call


_CLASSES: Final[Mapping[Callable[..., Made], str]] = {
    text_to_video: "TextToVideoSDPipeline",
    video_to_video: "VideoToVideoSDPipeline",
    i2vgenxl: "I2VGenXLPipeline",
    stable_video_diffusion: "StableVideoDiffusionPipeline",
    latte: "LattePipeline",
}
FACTORIES: Final[Mapping[str, Callable[..., Made]]] = {
    function.__name__: function for function, name in _CLASSES.items() if hasattr(diffusers, name)
}
# VideoToVideoSDPipeline of diffusers adds the noise of as many frames as there are prompts.
ONE_VIDEO: Final = ("video_to_video",)


def run(
    pipe: Any, call: Mapping[str, Any], *, steps: int = 1, guidance_scale: float = 5.0, seeds: tuple[int, ...] = (0,)
) -> torch.Tensor:
    """The latents of a short run, (videos, ...).

    Args:
        seeds: one, or one for each video.
    """
    guidance = {"guidance_scale": guidance_scale}
    if isinstance(pipe, diffusers.StableVideoDiffusionPipeline):
        guidance = {"min_guidance_scale": 1.0, "max_guidance_scale": guidance_scale}
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    torch.manual_seed(0)
    frames: torch.Tensor = pipe(
        **call,
        **guidance,
        num_inference_steps=steps,
        generator=generators if len(generators) > 1 else generators[0],
    ).frames
    return frames


def _sized(frames: int) -> dict[str, Any]:
    return {"num_frames": frames, "height": HEIGHT, "width": WIDTH, "output_type": "latent"}


def _unet3d(channels: Channels) -> UNet3DConditionModel:
    """Eight heads in the anchor block, four in those that it guides: half as many a level, as the real ones have."""
    torch.manual_seed(0)
    return UNet3DConditionModel(
        sample_size=8,
        **_levels(channels, "3D"),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32,
        attention_head_dim=8,
    )


def _levels(channels: Channels, kind: str) -> dict[str, Any]:
    """Attention in all levels but the coarsest, as in the published models."""
    attended = len(channels) - 1
    return {
        "block_out_channels": channels,
        "down_block_types": (*[f"CrossAttnDownBlock{kind}"] * attended, f"DownBlock{kind}"),
        "up_block_types": (f"UpBlock{kind}", *[f"CrossAttnUpBlock{kind}"] * attended),
    }


def _text_and_vae(vae_levels: int) -> dict[str, Any]:
    tokenizer = make_tokenizer()
    return {"tokenizer": tokenizer, "text_encoder": make_text_encoder(tokenizer), "vae": make_vae(vae_levels)}


def _ddim() -> DDIMScheduler:
    return DDIMScheduler(clip_sample=False, timestep_spacing="linspace", prediction_type="v_prediction")


def _image_encoder(side: int, patch_size: int) -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        projection_dim=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=side,
        patch_size=patch_size,
    )
    return CLIPVisionModelWithProjection(config)


def _images(count: int) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


def _ready(pipe: Any) -> Any:
    denoiser = pipe.transformer if hasattr(pipe, "transformer") else pipe.unet
    for name, parameter in denoiser.named_parameters():
        if "temp" in name and name.endswith(("to_q.weight", "to_k.weight")):
            parameter.data.mul_(4)
    for component in pipe.components.values():
        if isinstance(component, nn.Module):
            component.eval().requires_grad_(False)
    if hasattr(pipe.vae, "quant_conv"):
        # Latents of an image that do not depend on what else was drawn.
        pipe.vae.quant_conv.weight.data[4:] = 0
        pipe.vae.quant_conv.bias.data[4:] = -30
    pipe.set_progress_bar_config(disable=True)
    return pipe
