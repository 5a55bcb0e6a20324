"""Wan 2.1 and 2.2 (Wan team, arXiv 2503.20314)."""

from __future__ import annotations

import re
from typing import Final

from bytheway.families.family import Family, JointAttentions, MakersDefaults
from bytheway.families.tokens import all_but_dc, of_latents

FAMILY: Final = Family(
    name="Wan",
    denoisers=("WanTransformer3DModel",),
    # Text, and the embedding of an image, are in the cross-attention; the image itself is in the channels, or in the
    # first frame.
    attentions=JointAttentions(re.compile(r"blocks\.\d+\.attn1"), of_latents),
    presets=(all_but_dc("wan", 15),),
    pipelines={"WanPipeline": "Wan 2.1"},
    defaults=(
        # Wan 2.2 TI2V 5B.
        MakersDefaults(
            {"num_frames": 121, "size": (1280, 704), "fps": 24},
            applies=lambda pipeline, denoiser: bool(pipeline.get("expand_timesteps")),
        ),
        MakersDefaults({"num_frames": 81, "fps": 16}),
    ),
    frames_made=lambda asked, per_latent, config: asked // per_latent * per_latent + 1,
    from_video={"WanPipeline": "WanVideoToVideoPipeline"},
)
