"""HunyuanVideo (Kong et al., arXiv 2412.03603) and HunyuanVideo 1.5."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bytheway.families.family import Family, JointAttentions, MakersDefaults, whole_latents
from bytheway.families.tokens import all_but_dc, of_latents


def _frames_made(asked: int, per_latent: int, config: Mapping[str, Any]) -> int:
    """With an image in the channels, the first latent frame and the four frames that come of it are cut off."""
    cut = 4 if config.get("image_condition_type") == "latent_concat" else 0
    return whole_latents(asked, per_latent, config) - cut


FAMILY: Final = Family(
    name="HunyuanVideo",
    denoisers=("HunyuanVideoTransformer3DModel", "HunyuanVideo15Transformer3DModel"),
    # Text (1.5: and the embedding of an image) has projections of its own, or follows the video (single stream); an
    # image is in the channels, or takes the place of the first frame.
    attentions=JointAttentions(re.compile(r"(single_)?transformer_blocks\.\d+\.attn"), of_latents),
    presets=(all_but_dc("hunyuanvideo", 16),),
    pipelines={"HunyuanVideoPipeline": "HunyuanVideo"},
    frames_made=_frames_made,
    defaults=(
        # HunyuanVideo 1.5, made for 720 lines or for 480.
        MakersDefaults(
            {"size": (1280, 720), "fps": 24},
            pipelines="HunyuanVideo15",
            applies=lambda pipeline, denoiser: bool(denoiser["target_size"] >= 960),
        ),
        MakersDefaults({"size": (848, 480), "fps": 24}, pipelines="HunyuanVideo15"),
        MakersDefaults({"fps": 24}),
    ),
)
