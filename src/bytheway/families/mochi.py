"""Mochi 1 (Genmo)."""

from __future__ import annotations

from typing import Final

from bytheway.families.family import Family, JointAttentions, MadeFor, MakersDefaults
from bytheway.families.tokens import ATTN1, all_but_dc, of_latents

FAMILY: Final = Family(
    name="Mochi",
    denoisers=("MochiTransformer3DModel",),
    # Text has projections of its own.
    attentions=JointAttentions(ATTN1, of_latents),
    presets=(all_but_dc("mochi", 14),),
    pipelines={"MochiPipeline": "Mochi"},
    defaults=(MakersDefaults({"num_frames": 85, "size": (848, 480), "fps": 30}),),
    made_for=(MadeFor(num_frames=(163,)),),
)
