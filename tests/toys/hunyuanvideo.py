"""Tiny pipelines of HunyuanVideo and FramePack, as `tests.toys.joint` has them."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
    HunyuanVideoImageToVideoPipeline,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from tests.toys.parts import Tiny, embeddings, picture, quiet, seeded

_HUNYUANVIDEO: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 10,
    "num_layers": 1,
    "num_single_layers": 1,
    "num_refiner_layers": 1,
    "guidance_embeds": True,
    "text_embed_dim": 16,
    "pooled_projection_dim": 8,
    "rope_axes_dim": (2, 4, 4),
}


def _hunyuanvideo_pipe(pipeline_class: Any, components: dict[str, Any], **changes: Any) -> Any:
    transformer = seeded(HunyuanVideoTransformer3DModel, **(_HUNYUANVIDEO | changes))
    return _pipe_around(pipeline_class, transformer, **components)


def _pipe_around(pipeline_class: Any, transformer: Any, **components: Any) -> Any:
    vae = seeded(
        AutoencoderKLHunyuanVideo,
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )
    return quiet(
        pipeline_class(
            text_encoder=None,
            tokenizer=None,
            transformer=transformer,
            vae=vae,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            text_encoder_2=None,
            tokenizer_2=None,
            **components,
        )
    )


def _hunyuanvideo_call(**call: Any) -> dict[str, Any]:
    """Guidance is distilled; of the text's five tokens the last is padding."""
    mask = torch.ones(1, 5)
    mask[:, -1] = 0
    return {
        "prompt_embeds": embeddings(1, 5, 16, seed=1),
        "pooled_prompt_embeds": embeddings(1, 8, seed=2),
        "prompt_attention_mask": mask,
        "height": 32,
        "width": 48,
        "num_frames": 13,
        "num_inference_steps": 2,
        "output_type": "latent",
        **call,
    }


def hunyuanvideo(**changes: Any) -> Tiny:
    """Text to video."""
    return _hunyuanvideo_pipe(HunyuanVideoPipeline, {}, **changes), _hunyuanvideo_call()


def hunyuanvideo_image2video(**changes: Any) -> Tiny:
    """The image takes the place of the first latent frame."""
    pipe = _hunyuanvideo_pipe(
        HunyuanVideoImageToVideoPipeline,
        {"image_processor": None},
        image_condition_type="token_replace",
        guidance_embeds=False,
        **changes,
    )
    return pipe, _hunyuanvideo_call(image=picture(48, 32))


def hunyuanvideo_image2video_concat(**changes: Any) -> Tiny:
    """The image is in the channels."""
    pipe = _hunyuanvideo_pipe(
        HunyuanVideoImageToVideoPipeline,
        {"image_processor": None},
        image_condition_type="latent_concat",
        in_channels=9,
        guidance_embeds=False,
        **changes,
    )
    return pipe, _hunyuanvideo_call(image=picture(48, 32))


def framepack(**changes: Any) -> Tiny:
    """A section of four latent frames, after the tokens of its history: 4 of the coarsest, 2, and 12 whole ones."""
    settings = {"has_image_proj": True, "image_proj_dim": 8, "has_clean_x_embedder": True}
    config = SiglipVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    pipe = _pipe_around(
        HunyuanVideoFramepackPipeline,
        seeded(HunyuanVideoFramepackTransformer3DModel, **(_HUNYUANVIDEO | settings | changes)),
        image_encoder=seeded(SiglipVisionModel, config=config),
        feature_extractor=SiglipImageProcessorPil(size={"height": 16, "width": 16}),
    )
    return pipe, _hunyuanvideo_call(image=picture(48, 32), latent_window_size=4)
