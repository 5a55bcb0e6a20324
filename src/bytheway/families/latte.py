"""Latte (Ma et al., arXiv 2401.03048): temporal blocks in a row, without decoder levels and so without guidance."""

from __future__ import annotations

import re
from typing import Final

from bytheway.config import ByTheWayConfig
from bytheway.families.family import Family, MadeFor, Preset, TemporalAttentions

FAMILY: Final = Family(
    name="Latte",
    denoisers=("LatteTransformer3DModel",),
    attentions=TemporalAttentions(
        re.compile(r"(?P<transformer>)(?P<block>temporal_transformer_blocks\.\d+)\.attn1"),
        stages=("temporal_transformer_blocks",),
    ),
    presets=(
        Preset(
            "latte",
            ByTheWayConfig(alpha=0.0, beta=1.5, tau=7),
            source="the milder of the paper's values, without self-guidance, as a starting point",
        ),
    ),
    pipelines={"LattePipeline": "Latte"},
    made_for=(MadeFor(),),
    # The text is cut to its length where it is alone.
    one_at_a_time=("LattePipeline",),
)
