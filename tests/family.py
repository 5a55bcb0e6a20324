"""Tiny pipelines of the AnimateDiff family: one function for each class of diffusers, with what its call needs.

Each returns (pipe, call): `pipe(**call, num_inference_steps=..., guidance_scale=..., generator=...)` makes `videos`
latents. All share the tiny UNet, text encoder and VAE of `tests.tiny`; what steers them (ControlNet, images, videos) is
random too, and strong enough to be seen in the result.
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

from tests import tiny

Made = tuple[Any, dict[str, Any]]

FRAMES = 6
SIDE = 16
PROMPTS = ("a red ball bounces", "a blue star turns", "a red star on snow")
_CHANNELS = (32, 32, 64, 64)


def animatediff(videos: int = 1) -> Made:
    """AnimateDiffPipeline."""
    return tiny.make_pipeline(), _call(videos)


def sdxl(videos: int = 1) -> Made:
    """AnimateDiffSDXLPipeline: three levels, two text encoders, sizes and crops as further conditions."""
    parts, adapter = sdxl_parts()
    return _ready(diffusers.AnimateDiffSDXLPipeline(**parts, motion_adapter=adapter)), _call(videos)


def sdxl_parts() -> tuple[dict[str, Any], MotionAdapter]:
    """The parts of an image model like Stable Diffusion XL, and a motion adapter for it."""
    base = tiny.make_pipeline()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        second = CLIPTextModelWithProjection(CLIPTextConfig(**base.text_encoder.config.to_diff_dict())).eval()
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=_CHANNELS[:3],
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=4,
            norm_num_groups=8,
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        )
        adapter = _adapter(_CHANNELS[:3], use_motion_mid_block=False)
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


def controlnet(videos: int = 1) -> Made:
    """AnimateDiffControlNetPipeline: a ControlNet on every frame. It takes one prompt at a time."""
    pipe = diffusers.AnimateDiffControlNetPipeline(**tiny.make_pipeline().components, controlnet=_control_net())
    return _ready(pipe), _call(videos) | {"conditioning_frames": _images(FRAMES, seed=1)}


def sparse_controlnet(videos: int = 1) -> Made:
    """AnimateDiffSparseControlNetPipeline with images: SparseCtrl's RGB form, which sees latents of the VAE."""
    return _sparse(videos, use_simplified_condition_embedding=True, conditioning_channels=4)


def sparse_controlnet_scribble(videos: int = 1) -> Made:
    """AnimateDiffSparseControlNetPipeline with sketches: SparseCtrl's scribble form, which sees pixels."""
    return _sparse(videos, use_simplified_condition_embedding=False, conditioning_channels=3)


def video_to_video(videos: int = 1) -> Made:
    """AnimateDiffVideoToVideoPipeline: of the steps asked for, the last half is run."""
    pipe = diffusers.AnimateDiffVideoToVideoPipeline(**tiny.make_pipeline().components)
    return _ready(pipe), _video_call(videos)


def video_to_video_controlnet(videos: int = 1) -> Made:
    """AnimateDiffVideoToVideoControlNetPipeline. It takes one prompt at a time."""
    pipe = diffusers.AnimateDiffVideoToVideoControlNetPipeline(
        **tiny.make_pipeline().components, controlnet=_control_net()
    )
    frames = {"video": _images(FRAMES, seed=3), "conditioning_frames": _images(FRAMES, seed=1)}
    return _ready(pipe), _video_call(videos) | frames


def pag(videos: int = 1) -> Made:
    """AnimateDiffPAGPipeline: a third, perturbed part of the batch, here by the spatial attention of the middle."""
    pipe = diffusers.AnimateDiffPAGPipeline(
        **tiny.make_pipeline().components, pag_applied_layers="mid_block.attentions"
    )
    return _ready(pipe), _call(videos)


def pia(videos: int = 1) -> Made:
    """PIAPipeline: mask and latents of an image beside the noisy latents, nine channels in all."""
    pipe = tiny.make_pipeline(conv_in_channels=9, pipeline_class=diffusers.PIAPipeline)
    return pipe, _call(videos) | {"image": _images(1, seed=2) * videos}


FAMILY: Final[Mapping[str, Callable[..., Made]]] = {
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


def _sparse(videos: int, **options: Any) -> Made:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = SparseControlNetModel(
            block_out_channels=_CHANNELS,
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
            conditioning_embedding_out_channels=(8, 16),
            motion_num_attention_heads=4,
            **options,
        )
        _fill_zeros(model)
    pipe = diffusers.AnimateDiffSparseControlNetPipeline(**tiny.make_pipeline().components, controlnet=model.eval())
    steer = {"conditioning_frames": _images(2, seed=1), "controlnet_frame_indices": [0, FRAMES - 1]}
    return _ready(pipe), _call(videos) | steer


def _control_net() -> ControlNetModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = ControlNetModel(
            block_out_channels=_CHANNELS,
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
            conditioning_embedding_out_channels=(8, 16),
        )
        _fill_zeros(model)
    return model.eval()


def _fill_zeros(model: nn.Module) -> None:
    """A ControlNet's outputs begin as zeros, as its training does; let them say something."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


def _adapter(channels: tuple[int, ...], **options: Any) -> MotionAdapter:
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
