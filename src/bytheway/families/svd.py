"""Stable Video Diffusion (Blattmann et al., arXiv 2311.15127)."""

from __future__ import annotations

import re
from typing import Final

from bytheway.families.family import UNET_BLOCK, Family, MadeFor, MakersDefaults, Preset, TemporalAttentions
from bytheway.families.unet3d import MILDER, MILDER_SOURCE

FAMILY: Final = Family(
    name="Stable Video Diffusion",
    denoisers=("UNetSpatioTemporalConditionModel",),
    # One transformer for both: spatial blocks alternate with temporal ones, whose attn2 looks at the image.
    attentions=TemporalAttentions(
        re.compile(
            rf"(?P<transformer>(?P<block>{UNET_BLOCK})\.attentions\.\d+)\.temporal_transformer_blocks\.\d+\.attn1"
        )
    ),
    presets=(Preset("svd", MILDER, source=MILDER_SOURCE),),
    pipelines={"StableVideoDiffusionPipeline": "Stable Video Diffusion"},
    defaults=(MakersDefaults({"fps": 7}),),
    made_for=(MadeFor(),),
)
