"""HunyuanVideo (Kong et al., arXiv 2412.03603), HunyuanVideo 1.5, and FramePack (Zhang et al., arXiv 2504.12626)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil, prod
from typing import Any, Final

from bytheway.attention.layout import VideoTokens
from bytheway.families.family import Family, Inputs, JointAttentions, MadeFor, MakersDefaults, whole_latents
from bytheway.families.tokens import all_but_dc, of_latents

# Text (1.5: and the embedding of an image) has projections of its own, or follows the video (single stream).
_SELF_ATTENTIONS: Final = re.compile(r"(single_)?transformer_blocks\.\d+\.attn")
_PRESET: Final = all_but_dc("hunyuanvideo", 16)

# FramePack's history, and how many latent frames, rows and columns of it are in a token.
_HISTORY: Final = {"latents_clean": (1, 2, 2), "latents_history_2x": (2, 4, 4), "latents_history_4x": (4, 8, 8)}
_SECTION: Final = 9  # latent frames that FramePack's pipeline makes at once, where it is not told otherwise


def _frames_made(asked: int, per_latent: int, config: Mapping[str, Any]) -> int:
    """With an image in the channels, the first latent frame and the four frames that come of it are cut off."""
    cut = 4 if config.get("image_condition_type") == "latent_concat" else 0
    return whole_latents(asked, per_latent, config) - cut


def _after_history(config: Any, inputs: Inputs) -> VideoTokens:
    """The section that is being made; before it are the image and earlier sections, the coarser the farther away."""
    section = of_latents(config, inputs)
    history = ((inputs.get(name), patch) for name, patch in _HISTORY.items())
    # What does not fill a token is filled up.
    sizes = (zip(latents.shape[2:], patch, strict=True) for latents, patch in history if latents is not None)
    return section._replace(start=sum(prod(ceil(side / step) for side, step in size) for size in sizes))


def _sections(asked: int, per_latent: int) -> int:
    """How many it takes, counted by the frames that each would be by itself; each is a denoising run."""
    return ceil(asked / ((_SECTION - 1) * per_latent + 1))


def _frames_of_sections(asked: int, per_latent: int, config: Mapping[str, Any]) -> int:
    """Those of all sections in one piece, and the image."""
    return _sections(asked, per_latent) * _SECTION * per_latent + 1


HUNYUANVIDEO: Final = Family(
    name="HunyuanVideo",
    denoisers=("HunyuanVideoTransformer3DModel", "HunyuanVideo15Transformer3DModel"),
    # An image is in the channels, or takes the place of the first frame.
    attentions=JointAttentions(_SELF_ATTENTIONS, of_latents),
    presets=(_PRESET,),
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
    made_for=(MadeFor(pipelines="HunyuanVideo15"), MadeFor(sizes=((960, 544),))),
)
FRAMEPACK: Final = Family(
    name="FramePack",
    denoisers=("HunyuanVideoFramepackTransformer3DModel",),
    attentions=JointAttentions(_SELF_ATTENTIONS, _after_history),
    presets=(_PRESET,),
    pipelines={"HunyuanVideoFramepackPipeline": "FramePack"},
    frames_made=_frames_of_sections,
    runs=_sections,
    # Its call has the size of HunyuanVideo; this is one of those that it was trained on.
    defaults=(MakersDefaults({"size": (832, 480), "fps": 30}),),
    made_for=(MadeFor(num_frames=None),),
)
FAMILIES: Final = (HUNYUANVIDEO, FRAMEPACK)
