"""Tiny pipelines of Wan, VACE and Wan-Animate, as `tests.toys.joint` has them."""

from typing import Any

from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
    WanVideoToVideoPipeline,
)
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from tests.toys.parts import Tiny, footage, guided, picture, quiet, seeded

_WAN: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 12,
    "freq_dim": 16,
    "ffn_dim": 24,
    "num_layers": 2,
    "rope_max_seq_len": 40,
}


def _wan_transformer(seed: int = 0, **changes: Any) -> Any:
    return seeded(WanTransformer3DModel, seed, **(_WAN | changes))


def _clip() -> dict[str, Any]:
    """What embeds an image for the cross-attention."""
    config = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=16
    )
    return {
        "image_processor": CLIPImageProcessorPil(size=16, crop_size=16),
        "image_encoder": seeded(CLIPVisionModel, config=config),
    }


def _wan_pipe(pipeline_class: Any, **components: Any) -> Any:
    vae = seeded(AutoencoderKLWan, base_dim=3, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return quiet(pipeline_class(tokenizer=None, text_encoder=None, vae=vae, scheduler=scheduler, **components))


def wan(**changes: Any) -> Tiny:
    """Text to video, as Wan 2.1."""
    pipe = _wan_pipe(WanPipeline, transformer=_wan_transformer(**changes))
    return pipe, guided(12, height=32, width=48, num_frames=13)


def wan_2_2(**changes: Any) -> Tiny:
    """Two transformers, as Wan 2.2 A14B: of four steps the first two are the first one's."""
    pipe = _wan_pipe(
        WanPipeline,
        transformer=_wan_transformer(**changes),
        transformer_2=_wan_transformer(seed=1, **changes),
        boundary_ratio=0.85,
    )
    return pipe, guided(12, height=32, width=48, num_frames=13, num_inference_steps=4)


def wan_image2video(**changes: Any) -> Tiny:
    """The image is in the channels, and embedded in the cross-attention, as Wan 2.1."""
    transformer = _wan_transformer(in_channels=36, image_dim=8, added_kv_proj_dim=24, **changes)
    pipe = _wan_pipe(WanImageToVideoPipeline, transformer=transformer, **_clip())
    return pipe, guided(12, tokens=512, height=32, width=48, num_frames=13, image=picture(48, 32))


def wan_first_frame(**changes: Any) -> Tiny:
    """The image is the first latent frame, with a timestep of its own for each token, as Wan 2.2 TI2V 5B."""
    pipe = _wan_pipe(
        WanImageToVideoPipeline,
        transformer=_wan_transformer(**changes),
        image_processor=None,
        image_encoder=None,
        expand_timesteps=True,
    )
    return pipe, guided(12, height=32, width=48, num_frames=13, image=picture(48, 32))


def wan_video2video(**changes: Any) -> Tiny:
    """Half of the four steps run."""
    pipe = _wan_pipe(WanVideoToVideoPipeline, transformer=_wan_transformer(**changes))
    return pipe, guided(12, height=32, width=48, video=footage(13), strength=0.5, num_inference_steps=4)


def wan_vace(**changes: Any) -> Tiny:
    """Two blocks, of which the first is given hints."""
    settings = {"vace_layers": [0], "vace_in_channels": 96}
    transformer = seeded(WanVACETransformer3DModel, **(_WAN | settings | changes))
    return _wan_pipe(WanVACEPipeline, transformer=transformer), guided(12, height=32, width=48, num_frames=13)


def wan_vace_references(**changes: Any) -> Tiny:
    """A video of which a half is made anew, and two images: latent frames before the four of the video."""
    pipe, call = wan_vace(**changes)
    mask = Image.new("L", (48, 32))
    mask.paste(255, (24, 0, 48, 32))
    given = {"video": footage(13), "mask": [mask] * 13, "reference_images": [picture(48, 32), picture(32, 48)]}
    return pipe, call | given


def wan_animate(**changes: Any) -> Tiny:
    """The character is the first latent frame, before four of one segment; its face goes into every second block."""
    settings = {
        "in_channels": 36,
        "image_dim": 8,
        "added_kv_proj_dim": 24,
        "motion_encoder_channel_sizes": {"4": 4, "8": 4, "16": 4},
        "motion_encoder_size": 16,
        "motion_style_dim": 4,
        "motion_dim": 4,
        "motion_encoder_dim": 8,
        "face_encoder_hidden_dim": 8,
        "face_encoder_num_heads": 2,
        "inject_face_latents_blocks": 2,
    }
    transformer = seeded(WanAnimateTransformer3DModel, **(_WAN | settings | changes))
    pipe = _wan_pipe(WanAnimatePipeline, transformer=transformer, **_clip())
    given = {"image": picture(48, 32), "pose_video": footage(13), "face_video": footage(13, 16, 16)}
    return pipe, guided(12, 512, height=32, width=48, segment_frame_length=13, guidance_scale=5.0, **given)
