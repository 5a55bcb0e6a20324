"""Tiny pipelines of the models with joint space-time attention: one function for each pipeline class and variant.

Each returns (pipe, call): a fresh pipeline with seeded random weights, and the arguments of a short run to its latents.
Prompts are embeddings (there is no text encoder); the caller adds a generator. Every run has four latent frames, or as
many as `num_frames` makes. The value projections are scaled up, so that the attention counts in the output.
"""

from collections.abc import Callable
from typing import Any

from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLMochi,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    CogVideoXVideoToVideoPipeline,
    FlowMatchEulerDiscreteScheduler,
    LTXConditionPipeline,
    LTXImageToVideoPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MochiPipeline,
    MochiTransformer3DModel,
)

from tests.toys.hunyuanvideo import framepack, hunyuanvideo, hunyuanvideo_image2video, hunyuanvideo_image2video_concat
from tests.toys.parts import Tiny, footage, guided, masked, picture, quiet, seeded
from tests.toys.wan import (
    wan,
    wan_2_2,
    wan_animate,
    wan_first_frame,
    wan_image2video,
    wan_vace,
    wan_vace_references,
    wan_video2video,
)


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
    return quiet(
        pipeline_class(
            tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=CogVideoXDDIMScheduler()
        )
    )


def cogvideox(**changes: Any) -> Tiny:
    """Text to video, sine-cosine positions, as CogVideoX-2b."""
    return _cogvideox_pipe(CogVideoXPipeline, **changes), guided(12, height=32, width=48, num_frames=13)


def cogvideox_1_5(**changes: Any) -> Tiny:
    """Temporal patches of two frames and rotary positions, as CogVideoX 1.5: eight latent frames are four."""
    pipe, call = cogvideox(patch_size_t=2, use_rotary_positional_embeddings=True, patch_bias=False, **changes)
    return pipe, {**call, "num_frames": 29}


def cogvideox_image2video(**changes: Any) -> Tiny:
    """The image is in the channels."""
    pipe = _cogvideox_pipe(
        CogVideoXImageToVideoPipeline, in_channels=8, use_rotary_positional_embeddings=True, **changes
    )
    return pipe, guided(12, height=32, width=48, num_frames=13, image=picture(48, 32))


def cogvideox_video2video(**changes: Any) -> Tiny:
    """Half of the four steps run."""
    pipe = _cogvideox_pipe(CogVideoXVideoToVideoPipeline, **changes)
    return pipe, guided(12, height=32, width=48, video=footage(13), strength=0.5, num_inference_steps=4)


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
    return quiet(
        pipeline_class(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae,
            text_encoder=None,
            tokenizer=None,
            transformer=seeded(LTXVideoTransformer3DModel, **(settings | changes)),
        )
    )


def _ltx_call(**call: Any) -> dict[str, Any]:
    return masked(guided(12, height=32, width=64, num_frames=13, frame_rate=8, **call))


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
    return quiet(pipe), masked(guided(16, height=32, width=48, num_frames=19))


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
        wan_vace,
        wan_vace_references,
        wan_animate,
        hunyuanvideo,
        hunyuanvideo_image2video,
        hunyuanvideo_image2video_concat,
        framepack,
        ltx,
        ltx_image2video,
        ltx_condition,
        mochi,
    )
}
