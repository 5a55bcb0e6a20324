"""LTX-Video (HaCohen et al., arXiv 2501.00103) and LTX-2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bytheway.attention.layout import VideoTokens
from bytheway.families.family import Family, Inputs, JointAttentions, MadeFor, MakersDefaults
from bytheway.families.tokens import ATTN1, all_but_dc, longest_run, of_grid, once

if TYPE_CHECKING:
    from torch import Tensor


def _video_tokens(config: Any, inputs: Inputs) -> VideoTokens:
    """Packed already; the call tells the grid, or where each token is (keyframes then come beside the video)."""
    if inputs.get("video_coords") is not None:
        return once(inputs["video_coords"], longest_run)
    return of_grid(config, inputs)


def _perturbed(config: Any, inputs: Inputs) -> dict[str, Tensor | None]:
    """LTX-2's spatio-temporal guidance has the identity in the place of the map, to be guided away from that.

    There is nothing to enhance then.
    """
    blocks = inputs.get("spatio_temporal_guidance_blocks")
    if not blocks or not config.perturbed_attn:
        return {}
    mask = inputs.get("perturbation_mask")
    rows = None if mask is None else mask.flatten() == 0
    return {f"transformer_blocks.{number}.attn1": rows for number in blocks}


_PRESET: Final = all_but_dc("ltx", 10)

LTX_VIDEO: Final = Family(
    name="LTX-Video",
    denoisers=("LTXVideoTransformer3DModel",),
    attentions=JointAttentions(ATTN1, _video_tokens),
    presets=(_PRESET,),
    pipelines={"LTXPipeline": "LTX-Video"},
    made_for=(MadeFor(sizes=None, num_frames=(257,)),),
    # Its video is a condition beside the prompt, in place of the image; denoising does not begin at it.
    other_meanings={"LTXConditionPipeline": ("video", "strength")},
    optional_starts={"LTXConditionPipeline": ("images",)},
)
LTX_2: Final = Family(
    name="LTX-2",
    denoisers=("LTX2VideoTransformer3DModel",),
    # Keyframes and references follow the video; audio goes by itself.
    attentions=JointAttentions(ATTN1, of_grid, _perturbed),
    presets=(_PRESET,),
    defaults=(MakersDefaults({"num_frames": 121}),),
)
FAMILIES: Final = (LTX_VIDEO, LTX_2)
