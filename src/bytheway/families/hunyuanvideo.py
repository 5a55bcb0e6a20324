"""HunyuanVideo (Kong et al., arXiv 2412.03603) and HunyuanVideo 1.5."""

from __future__ import annotations

import re
from typing import Final

from bytheway.families.family import Family, JointAttentions, MakersDefaults
from bytheway.families.tokens import all_but_dc, of_latents

FAMILY: Final = Family(
    name="HunyuanVideo",
    denoisers=("HunyuanVideoTransformer3DModel", "HunyuanVideo15Transformer3DModel"),
    # Text (1.5: and the embedding of an image) has projections of its own, or follows the video (single stream); an
    # image is in the channels, or takes the place of the first frame.
    attentions=JointAttentions(re.compile(r"(single_)?transformer_blocks\.\d+\.attn"), of_latents),
    presets=(all_but_dc("hunyuanvideo", 16),),
    pipelines={"HunyuanVideoPipeline": "HunyuanVideo"},
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
