"""VideoCrafter2 (Chen et al., arXiv 2401.09047), the paper's second model."""

from __future__ import annotations

from typing import Final

from bytheway.config import ByTheWayConfig
from bytheway.families.family import Family, KnownModel, MadeFor, MakersDefaults, Preset, TemporalAttentions
from bytheway.families.unet3d import TEMPORAL_TRANSFORMERS

FAMILY: Final = Family(
    name="VideoCrafter2",
    denoisers=("VideoCrafterUNet",),
    attentions=TemporalAttentions(TEMPORAL_TRANSFORMERS),
    presets=(
        Preset(
            "videocrafter2",
            ByTheWayConfig(alpha=0.1, beta=10.0, tau=7),
            source="the paper, for clips of 16 frames at 320x512",
            figure="the paper's Tables 1 and 2; not repeated by us",
        ),
    ),
    pipelines={"VideoCrafterPipeline": "VideoCrafter2"},
    defaults=(MakersDefaults({"fps": 10}),),
    made_for=(MadeFor(),),
    models=(
        KnownModel(
            name="videocrafter2",
            description="VideoCrafter2 (512-v2, 320x512), from the checkpoint its authors published",
            measured=True,
            base="VideoCrafter/VideoCrafter2",
            checkpoint="model.ckpt",
        ),
    ),
)
