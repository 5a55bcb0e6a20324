"""Tiny pipelines of the models with joint space-time attention: one function for each pipeline class and variant.

Each returns (pipe, call): a fresh pipeline with seeded random weights, and the arguments of a short run to its latents.
Prompts are embeddings (there is no text encoder); the caller adds a generator. Every run has four latent frames, or as
many as `num_frames` makes. The value projections are scaled up, so that the attention counts in the output.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    AutoencoderKLMochi,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    CogVideoXVideoToVideoPipeline,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoImageToVideoPipeline,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    LTXConditionPipeline,
    LTXImageToVideoPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MochiPipeline,
    MochiTransformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVideoToVideoPipeline,
)
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

Tiny = tuple[Any, dict[str, Any]]


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(make: Callable[..., Any], seed: int = 0, **settings: Any) -> Any:
    """A model in inference mode; equal settings give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(**settings).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("to_v.weight"):
            parameter.mul_(4)
    return model


def embeddings(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(width: int, height: int, shade: int = 0) -> Image.Image:
    """A gradient."""
    return Image.radial_gradient("L").resize((width, height)).point(lambda value: (value + shade) % 256).convert("RGB")


def _guided(dim: int, tokens: int = 5, **call: Any) -> dict[str, Any]:
    """A prompt and a negative one, guidance, two steps, latents."""
    return {
        "prompt_embeds": embeddings(1, tokens, dim, seed=1),
        "negative_prompt_embeds": embeddings(1, tokens, dim, seed=2),
        "num_inference_steps": 2,
        "output_type": "latent",
        **call,
    }


def _masked(call: dict[str, Any]) -> dict[str, Any]:
    """The same with masks, which leave out the last token of the negative prompt."""
    mask = torch.ones(call["prompt_embeds"].shape[:2], dtype=torch.bool)
    negative = mask.clone()
    negative[:, -1] = False
    return {**call, "prompt_attention_mask": mask, "negative_prompt_attention_mask": negative}


def _cogvideox_transformer(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 8,
        "text_embed_dim": 12,
        "num_layers": 2,
        "sample_width": 6,
        "sample_height": 4,
        "sample_frames": 13,
        "max_text_seq_length": 5,
    }
    return seeded(CogVideoXTransformer3DModel, **(settings | changes))


def _cogvideox_pipe(pipeline_class: Any, **changes: Any) -> Any:
    vae = seeded(
        AutoencoderKLCogVideoX,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    )
    transformer = _cogvideox_transformer(**changes)
    return _quiet(
        pipeline_class(
            tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=CogVideoXDDIMScheduler()
        )
    )


def cogvideox(**changes: Any) -> Tiny:
    """Text to video, sine-cosine positions, as CogVideoX-2b."""
    return _cogvideox_pipe(CogVideoXPipeline, **changes), _guided(12, height=32, width=48, num_frames=13)


def cogvideox_1_5(**changes: Any) -> Tiny:
    """Temporal patches of two frames and rotary positions, as CogVideoX 1.5: eight latent frames are four."""
    pipe, call = cogvideox(patch_size_t=2, use_rotary_positional_embeddings=True, patch_bias=False, **changes)
    return pipe, {**call, "num_frames": 29}


def cogvideox_image2video(**changes: Any) -> Tiny:
    """The image is in the channels."""
    pipe = _cogvideox_pipe(
        CogVideoXImageToVideoPipeline, in_channels=8, use_rotary_positional_embeddings=True, **changes
    )
    return pipe, _guided(12, height=32, width=48, num_frames=13, image=picture(48, 32))


def cogvideox_video2video(**changes: Any) -> Tiny:
    """Half of the four steps run."""
    pipe = _cogvideox_pipe(CogVideoXVideoToVideoPipeline, **changes)
    video = [picture(48, 32, shade=8 * n) for n in range(13)]
    return pipe, _guided(12, height=32, width=48, video=video, strength=0.5, num_inference_steps=4)


def _wan_transformer(seed: int = 0, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 12,
        "freq_dim": 16,
        "ffn_dim": 24,
        "num_layers": 2,
        "rope_max_seq_len": 32,
    }
    return seeded(WanTransformer3DModel, seed, **(settings | changes))


def _wan_pipe(pipeline_class: Any, **components: Any) -> Any:
    vae = seeded(AutoencoderKLWan, base_dim=3, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return _quiet(pipeline_class(tokenizer=None, text_encoder=None, vae=vae, scheduler=scheduler, **components))


def wan(**changes: Any) -> Tiny:
    """Text to video, as Wan 2.1."""
    pipe = _wan_pipe(WanPipeline, transformer=_wan_transformer(**changes))
    return pipe, _guided(12, height=32, width=48, num_frames=13)


def wan_2_2(**changes: Any) -> Tiny:
    """Two transformers, as Wan 2.2 A14B: of four steps the first two are the first one's."""
    pipe = _wan_pipe(
        WanPipeline,
        transformer=_wan_transformer(**changes),
        transformer_2=_wan_transformer(seed=1, **changes),
        boundary_ratio=0.85,
    )
    return pipe, _guided(12, height=32, width=48, num_frames=13, num_inference_steps=4)


def wan_image2video(**changes: Any) -> Tiny:
    """The image is in the channels, and embedded in the cross-attention, as Wan 2.1."""
    config = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=16
    )
    pipe = _wan_pipe(
        WanImageToVideoPipeline,
        transformer=_wan_transformer(in_channels=36, image_dim=8, added_kv_proj_dim=24, **changes),
        image_processor=CLIPImageProcessorPil(size=16, crop_size=16),
        image_encoder=seeded(CLIPVisionModel, config=config),
    )
    return pipe, _guided(12, tokens=512, height=32, width=48, num_frames=13, image=picture(48, 32))


def wan_first_frame(**changes: Any) -> Tiny:
    """The image is the first latent frame, with a timestep of its own for each token, as Wan 2.2 TI2V 5B."""
    pipe = _wan_pipe(
        WanImageToVideoPipeline,
        transformer=_wan_transformer(**changes),
        image_processor=None,
        image_encoder=None,
        expand_timesteps=True,
    )
    return pipe, _guided(12, height=32, width=48, num_frames=13, image=picture(48, 32))


def wan_video2video(**changes: Any) -> Tiny:
    """Half of the four steps run."""
    pipe = _wan_pipe(WanVideoToVideoPipeline, transformer=_wan_transformer(**changes))
    video = [picture(48, 32, shade=8 * n) for n in range(13)]
    return pipe, _guided(12, height=32, width=48, video=video, strength=0.5, num_inference_steps=4)


def _hunyuanvideo_pipe(pipeline_class: Any, components: dict[str, Any], **changes: Any) -> Any:
    settings: dict[str, Any] = {
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
    vae = seeded(
        AutoencoderKLHunyuanVideo,
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )
    return _quiet(
        pipeline_class(
            text_encoder=None,
            tokenizer=None,
            transformer=seeded(HunyuanVideoTransformer3DModel, **(settings | changes)),
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


def _ltx_pipe(pipeline_class: Any, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "in_channels": 8,
        "out_channels": 8,
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "cross_attention_dim": 24,
        "num_layers": 2,
        "caption_channels": 12,
    }
    vae = seeded(
        AutoencoderKLLTXVideo,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=4,
    )
    return _quiet(
        pipeline_class(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae,
            text_encoder=None,
            tokenizer=None,
            transformer=seeded(LTXVideoTransformer3DModel, **(settings | changes)),
        )
    )


def _ltx_call(**call: Any) -> dict[str, Any]:
    return _masked(_guided(12, height=32, width=64, num_frames=13, frame_rate=8, **call))


def ltx(**changes: Any) -> Tiny:
    """Text to video."""
    return _ltx_pipe(LTXPipeline, **changes), _ltx_call()


def ltx_image2video(**changes: Any) -> Tiny:
    """The image is the first latent frame, with a timestep of its own for each token."""
    return _ltx_pipe(LTXImageToVideoPipeline, **changes), _ltx_call(image=picture(64, 32))


def ltx_condition(**changes: Any) -> Tiny:
    """An image as a keyframe: its tokens come before those of the video, which knows nothing of its grid."""
    return _ltx_pipe(LTXConditionPipeline, **changes), _ltx_call(image=picture(64, 32), frame_index=8)


def mochi(**changes: Any) -> Tiny:
    """Text to video; the text has projections of its own."""
    settings: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 2,
        "pooled_projection_dim": 16,
        "in_channels": 12,
        "text_embed_dim": 16,
        "time_embed_dim": 4,
        "max_sequence_length": 5,
    }
    vae = seeded(
        AutoencoderKLMochi,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    pipe = MochiPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        transformer=seeded(MochiTransformer3DModel, **(settings | changes)),
    )
    return _quiet(pipe), _masked(_guided(16, height=32, width=48, num_frames=19))


FACTORIES: dict[str, Callable[..., Tiny]] = {
    factory.__name__: factory
    for factory in (
        cogvideox,
        cogvideox_1_5,
        cogvideox_image2video,
        cogvideox_video2video,
        wan,
        wan_2_2,
        wan_image2video,
        wan_first_frame,
        wan_video2video,
        hunyuanvideo,
        hunyuanvideo_image2video,
        hunyuanvideo_image2video_concat,
        ltx,
        ltx_image2video,
        ltx_condition,
        mochi,
    )
}
