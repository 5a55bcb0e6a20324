"""Wan 2.1 and 2.2 (Wan team, arXiv 2503.20314), and on it VACE (Jiang et al., arXiv 2503.07598) and Wan-Animate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bytheway.attention.layout import VideoTokens
from bytheway.families.family import Family, Inputs, JointAttentions, MadeFor, MakersDefaults
from bytheway.families.tokens import after_frames, all_but_dc, of_latents, once

if TYPE_CHECKING:
    from torch import Tensor

# Text, and the embedding of an image, are in the cross-attention.
_SELF_ATTENTIONS: Final = re.compile(r"blocks\.\d+\.attn1")
_PRESET: Final = all_but_dc("wan", 15)
_480_AND_720_LINES: Final = MadeFor(sizes=((1280, 720),))


def _after_references(config: Any, inputs: Inputs) -> VideoTokens:
    """VACE's reference images are latent frames before those of the video, and no moments of it."""
    references = once(inputs["control_hidden_states"], lambda control: _count_references(config, control))
    return after_frames(of_latents(config, inputs), references)


def _count_references(config: Any, control: Tensor) -> int:
    """How many of the first frames are reference images.

    Nothing says it but the control itself, (batch, channels, F, height, width): what is to be kept, what is to be made
    anew, and the mask. The last two are exactly 0 for a reference, and for no frame of a video, whose encoded pixels
    are never all 0.
    """
    blank = (control[:, config.in_channels :] == 0).flatten(3).all(3).all(1).all(0)
    count = int(blank.cumprod(0).sum())
    return 0 if count == len(blank) else count


def _after_character(config: Any, inputs: Inputs) -> VideoTokens:
    """Wan-Animate's first latent frame is the image of the character; poses are added to those after it."""
    return after_frames(of_latents(config, inputs), 1)


def _frames_made(asked: int, per_latent: int, config: Mapping[str, Any]) -> int:
    return asked // per_latent * per_latent + 1


WAN: Final = Family(
    name="Wan",
    denoisers=("WanTransformer3DModel",),
    # An image is in the channels, or in the first frame.
    attentions=JointAttentions(_SELF_ATTENTIONS, of_latents),
    presets=(_PRESET,),
    pipelines={"WanPipeline": "Wan 2.1"},
    defaults=(
        # Wan 2.2 TI2V 5B.
        MakersDefaults(
            {"num_frames": 121, "size": (1280, 704), "fps": 24},
            applies=lambda pipeline, denoiser: bool(pipeline.get("expand_timesteps")),
        ),
        MakersDefaults({"num_frames": 81, "fps": 16}),
    ),
    made_for=(MadeFor(applies=lambda pipeline, denoiser: bool(pipeline.get("expand_timesteps"))), _480_AND_720_LINES),
    frames_made=_frames_made,
    from_video={"WanPipeline": "WanVideoToVideoPipeline"},
    requiring_ftfy=("WanImageToVideoPipeline", "WanVideoToVideoPipeline", "LucyEditPipeline"),
)
VACE: Final = Family(
    name="Wan VACE",
    denoisers=("WanVACETransformer3DModel",),
    # Not those of vace_blocks, which read the control, as a ControlNet does, and hand hints to the blocks of the video.
    attentions=JointAttentions(_SELF_ATTENTIONS, _after_references),
    presets=(_PRESET,),
    pipelines={"WanVACEPipeline": "Wan VACE"},
    defaults=(MakersDefaults({"num_frames": 81, "fps": 16}),),
    made_for=(_480_AND_720_LINES,),
    frames_made=_frames_made,
    # Its video is a control, or has places that are to be made anew; denoising does not begin at it.
    other_meanings={"WanVACEPipeline": ("video",)},
    one_at_a_time=("WanVACEPipeline",),
    requiring_ftfy=("WanVACEPipeline",),
)
ANIMATE: Final = Family(
    name="Wan-Animate",
    denoisers=("WanAnimateTransformer3DModel",),
    # The face goes by the cross-attentions of face_adapter; what precedes a segment is in the channels.
    attentions=JointAttentions(_SELF_ATTENTIONS, _after_character),
    presets=(_PRESET,),
    pipelines={"WanAnimatePipeline": "Wan-Animate"},
    requiring_ftfy=("WanAnimatePipeline",),
)
FAMILIES: Final = (WAN, VACE, ANIMATE)
