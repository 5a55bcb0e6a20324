"""UNet3DConditionModel and its kin: temporal transformers beside the spatial ones, and one before the first block.

ModelScope and ZeroScope (Wang et al., arXiv 2308.06571), and I2VGenXL (Zhang et al., arXiv 2311.04145).
"""

from __future__ import annotations

import re
from typing import Final

from bytheway.config import ByTheWayConfig
from bytheway.families.family import UNET_BLOCK, Family, MadeFor, MakersDefaults, Preset, TemporalAttentions

TEMPORAL_TRANSFORMERS: Final = re.compile(
    rf"(?P<transformer>(?P<block>transformer_in|{UNET_BLOCK})(?:\.temp_attentions\.\d+)?)"
    r"\.transformer_blocks\.\d+\.attn[12]"
)
MILDER: Final = ByTheWayConfig(alpha=0.1, beta=1.5, tau=7)
MILDER_SOURCE: Final = "the milder of the paper's two values each, as a starting point"

MODELSCOPE: Final = Family(
    name="ModelScope",
    denoisers=("UNet3DConditionModel",),
    attentions=TemporalAttentions(TEMPORAL_TRANSFORMERS),
    presets=(Preset("modelscope", MILDER, source=MILDER_SOURCE),),
    pipelines={
        "TextToVideoSDPipeline": "ModelScope, ZeroScope",
        "VideoToVideoSDPipeline": "ModelScope, ZeroScope video-to-video",
    },
    from_video={"TextToVideoSDPipeline": "VideoToVideoSDPipeline"},
)
I2VGENXL: Final = Family(
    name="I2VGenXL",
    denoisers=("I2VGenXLUNet",),
    # What attends over the frames of the image's latents (image_latents_temporal_encoder) is no part of the video.
    attentions=TemporalAttentions(TEMPORAL_TRANSFORMERS),
    presets=(Preset("i2vgenxl", MILDER, source=MILDER_SOURCE),),
    pipelines={"I2VGenXLPipeline": "I2VGenXL"},
    defaults=(MakersDefaults({"fps": 16}),),
    made_for=(MadeFor(),),
)
FAMILIES: Final = (MODELSCOPE, I2VGENXL)
