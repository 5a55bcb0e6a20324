"""CogVideoX (Yang et al., arXiv 2408.06072): text and video in one sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bytheway.attention.layout import VideoTokens
from bytheway.families.family import Family, Inputs, JointAttentions, MadeFor, MakersDefaults, whole_latents
from bytheway.families.tokens import ATTN1, all_but_dc, patched


def _video_tokens(config: Any, inputs: Inputs) -> VideoTokens:
    """Latents (batch, F, channels, height, width); the text comes first. An image is in the channels."""
    _, frames, _, height, width = inputs["hidden_states"].shape
    return patched(config, frames, height, width, start=inputs["encoder_hidden_states"].shape[1])


def _frames_made(asked: int, per_latent: int, config: Mapping[str, Any]) -> int:
    """Its autoencoder decodes latent frames by twos; the first is one frame where their number is odd."""
    latents = (asked - 1) // per_latent + 1
    return latents * per_latent if latents % 2 == 0 else whole_latents(asked, per_latent, config)


FAMILY: Final = Family(
    name="CogVideoX",
    denoisers=("CogVideoXTransformer3DModel",),
    attentions=JointAttentions(ATTN1, _video_tokens),
    presets=(all_but_dc("cogvideox", 7),),
    pipelines={"CogVideoXPipeline": "CogVideoX"},
    defaults=(
        # CogVideoX 1.5. The size in its configuration is the farthest that its positions reach.
        MakersDefaults(
            {"num_frames": 81, "size": (1360, 768), "fps": 16},
            applies=lambda pipeline, denoiser: denoiser.get("patch_size_t") is not None,
        ),
    ),
    # CogVideoX 1.5 takes any shape from a square to its default, and clips of five or ten seconds.
    made_for=(
        MadeFor(((768, 768),), (161,), applies=lambda pipeline, denoiser: denoiser.get("patch_size_t") is not None),
        MadeFor(),
    ),
    frames_made=_frames_made,
    from_video={"CogVideoXPipeline": "CogVideoXVideoToVideoPipeline"},
    latent_frame_axis=1,
)
