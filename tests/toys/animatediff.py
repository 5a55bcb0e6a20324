"""Tiny pipelines of the AnimateDiff family: one function for each class of diffusers, with what its call needs.

Each returns (pipe, call): `pipe(**call, num_inference_steps=..., guidance_scale=..., generator=...)` makes `videos`
latents. The UNet has `channels` in its levels, finest first; latents are smaller than the frames by a factor of
2 ** (vae_levels - 1). All share the tiny UNet, text encoder and VAE of `tests.tiny`; what steers them (ControlNet,
images, videos) is random too, and strong enough to be seen in the result.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import diffusers
import numpy as np
import torch
from diffusers import ControlNetModel, MotionAdapter, SparseControlNetModel, UNet2DConditionModel
from PIL import Image
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.toys import tiny

Made = tuple[Any, dict[str, Any]]
Channels = tuple[int, ...]

FRAMES = 6
SIDE = 16
PROMPTS = ("a red ball bounces", "a blue star turns", "a red star on snow")
CHANNELS: Final = (32, 32, 64, 64)


def animatediff(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """AnimateDiffPipeline."""
    return _base(channels, vae_levels), _call(videos)


def sdxl(videos: int = 1, channels: Channels = CHANNELS[:3], vae_levels: int = 2) -> Made:
    """AnimateDiffSDXLPipeline: three levels, two text encoders, sizes and crops as further conditions."""
    parts, adapter = sdxl_parts(channels, vae_levels)
    with torch.random.fork_rng(devices=[]):
        # What the adapter has no weights for is drawn anew.
        torch.manual_seed(0)
        pipe = diffusers.AnimateDiffSDXLPipeline(**parts, motion_adapter=adapter)
    return _ready(pipe), _call(videos)


def sdxl_parts(channels: Channels = CHANNELS[:3], vae_levels: int = 2) -> tuple[dict[str, Any], MotionAdapter]:
    """The parts of an image model like Stable Diffusion XL, and a motion adapter for it."""
    base = tiny.make_pipeline(vae_levels=vae_levels)
    text_levels = len(channels) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        second = CLIPTextModelWithProjection(CLIPTextConfig(**base.text_encoder.config.to_diff_dict())).eval()
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=channels,
            layers_per_block=1,
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * text_levels),
            up_block_types=(*["CrossAttnUpBlock2D"] * text_levels, "UpBlock2D"),
            attention_head_dim=4,
            norm_num_groups=8,
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        )
        adapter = _adapter(channels, use_motion_mid_block=False)
    parts = {
        "vae": base.vae,
        "text_encoder": base.text_encoder,
        "text_encoder_2": second,
        "tokenizer": base.tokenizer,
        "tokenizer_2": base.tokenizer,
        "unet": unet.eval(),
        "scheduler": base.scheduler,
    }
    return parts, adapter


def controlnet(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """AnimateDiffControlNetPipeline: a ControlNet on every frame. It takes one prompt at a time."""
    pipe = diffusers.AnimateDiffControlNetPipeline(
        **_base(channels, vae_levels).components, controlnet=_control_net(channels, vae_levels)
    )
    return _ready(pipe), _call(videos) | {"conditioning_frames": _images(FRAMES, seed=1)}


def sparse_controlnet(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """AnimateDiffSparseControlNetPipeline with images: SparseCtrl's RGB form, which sees latents of the VAE."""
    return _sparse(videos, channels, vae_levels, pixels=False)


def sparse_controlnet_scribble(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """AnimateDiffSparseControlNetPipeline with sketches: SparseCtrl's scribble form, which sees pixels."""
    return _sparse(videos, channels, vae_levels, pixels=True)


def video_to_video(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """AnimateDiffVideoToVideoPipeline: of the steps asked for, the last half is run."""
    pipe = diffusers.AnimateDiffVideoToVideoPipeline(**_base(channels, vae_levels).components)
    return _ready(pipe), _video_call(videos)


def video_to_video_controlnet(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """AnimateDiffVideoToVideoControlNetPipeline. It takes one prompt at a time."""
    pipe = diffusers.AnimateDiffVideoToVideoControlNetPipeline(
        **_base(channels, vae_levels).components, controlnet=_control_net(channels, vae_levels)
    )
    frames = {"video": _images(FRAMES, seed=3), "conditioning_frames": _images(FRAMES, seed=1)}
    return _ready(pipe), _video_call(videos) | frames


def pag(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """AnimateDiffPAGPipeline: a third, perturbed part of the batch, here by the spatial attention of the middle."""
    pipe = diffusers.AnimateDiffPAGPipeline(
        **_base(channels, vae_levels).components, pag_applied_layers="mid_block.attentions"
    )
    return _ready(pipe), _call(videos)


def pia(videos: int = 1, channels: Channels = CHANNELS, vae_levels: int = 2) -> Made:
    """PIAPipeline: mask and latents of an image beside the noisy latents, nine channels in all."""
    pipe = _base(channels, vae_levels, conv_in_channels=9, pipeline_class=diffusers.PIAPipeline)
    return pipe, _call(videos) | {"image": _images(1, seed=2) * videos}


FACTORIES: Final[Mapping[str, Callable[..., Made]]] = {
    function.__name__: function
    for function in (
        animatediff,
        sdxl,
        controlnet,
        sparse_controlnet,
        sparse_controlnet_scribble,
        video_to_video,
        video_to_video_controlnet,
        pag,
        pia,
    )
}
# In these diffusers sends the frames of one video to the ControlNet, whatever the number of prompts.
ONE_PROMPT: Final = ("controlnet", "video_to_video_controlnet")


def _call(videos: int) -> dict[str, Any]:
    return {
        "prompt": list(PROMPTS[:videos]),
        "num_frames": FRAMES,
        "height": SIDE,
        "width": SIDE,
        "output_type": "latent",
    }


def _video_call(videos: int) -> dict[str, Any]:
    call = _call(videos) | {"video": [_images(FRAMES, seed=3)] * videos, "strength": 0.5}
    del call["num_frames"]
    return call


def _images(count: int, seed: int) -> list[Image.Image]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


def _base(channels: Channels, vae_levels: int, **options: Any) -> Any:
    return tiny.make_pipeline(channels=channels, vae_levels=vae_levels, **options)


def _sparse(videos: int, channels: Channels, vae_levels: int, *, pixels: bool) -> Made:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = SparseControlNetModel(
            **_control_net_settings(channels, vae_levels, "Motion"),
            motion_num_attention_heads=4,
            use_simplified_condition_embedding=not pixels,
            conditioning_channels=3 if pixels else 4,
        )
        _fill_zeros(model)
    pipe = diffusers.AnimateDiffSparseControlNetPipeline(
        **_base(channels, vae_levels).components, controlnet=model.eval()
    )
    steer = {"conditioning_frames": _images(2, seed=1), "controlnet_frame_indices": [0, FRAMES - 1]}
    return _ready(pipe), _call(videos) | steer


def _control_net(channels: Channels, vae_levels: int) -> ControlNetModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = ControlNetModel(**_control_net_settings(channels, vae_levels, "2D"))
        _fill_zeros(model)
    return model.eval()


def _control_net_settings(channels: Channels, vae_levels: int, blocks: str) -> dict[str, Any]:
    """Levels and conditions as those of `tests.tiny`'s UNet."""
    text_levels = len(channels) - 1
    return {
        "block_out_channels": channels,
        "down_block_types": (*[f"CrossAttnDownBlock{blocks}"] * text_levels, f"DownBlock{blocks}"),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
        "conditioning_embedding_out_channels": (*[8] * (vae_levels - 1), 16),
    }


def _fill_zeros(model: nn.Module) -> None:
    """A ControlNet's outputs begin as zeros, as its training does; let them say something."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


def _adapter(channels: Channels, **options: Any) -> MotionAdapter:
    adapter = MotionAdapter(
        block_out_channels=channels,
        motion_layers_per_block=1,
        motion_norm_num_groups=8,
        motion_num_attention_heads=4,
        **options,
    )
    for name, parameter in adapter.named_parameters():
        if name.endswith(("to_q.weight", "to_k.weight")):
            parameter.data.mul_(4)
    return adapter


def _ready(pipe: Any) -> Any:
    pipe.unet.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe
