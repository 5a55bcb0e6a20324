"""Video denoisers of diffusers that no declaration supports, each with the reason. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Unsupported:
    """A video denoiser that the method is not put on.

    Attributes:
        model: as people write it.
        reason: why not, as the end of a sentence whose subject is the model.
    """

    model: str
    reason: str


_UNDECLARED: Final = "attends over space and time at once, and no declaration tells where its video is among its tokens"
_PACKED: Final = "packs its video with text and sound into one sequence, by indices that no declaration reads"
_CACHED: Final = "makes its video chunk by chunk from a cache of earlier values, so that no filter sees all frames"
_LINEAR: Final = "mixes its frames by linear attention, which has no map whose frequencies could be amplified"
_MODULAR: Final = "is run by modular blocks of diffusers, which are no pipeline that tells the step"

# By the class of the denoiser.
UNSUPPORTED: Final[Mapping[str, Unsupported]] = {
    "AllegroTransformer3DModel": Unsupported("Allegro", _UNDECLARED),
    "AnyFlowTransformer3DModel": Unsupported("AnyFlow", _UNDECLARED),
    "AnyFlowFARTransformer3DModel": Unsupported("AnyFlow FAR", _CACHED),
    "ChronoEditTransformer3DModel": Unsupported("ChronoEdit", "edits an image, and its frames are no clip"),
    "ConsisIDTransformer3DModel": Unsupported("ConsisID", _UNDECLARED),
    "CosmosTransformer3DModel": Unsupported("Cosmos", _UNDECLARED),
    "Cosmos3OmniTransformer": Unsupported("Cosmos 3", _PACKED),
    "EasyAnimateTransformer3DModel": Unsupported("EasyAnimate", _UNDECLARED),
    "HeliosTransformer3DModel": Unsupported("Helios", _UNDECLARED),
    "Kandinsky5Transformer3DModel": Unsupported(
        "Kandinsky 5", "may order its tokens by blocks of space and time, for sparse attention, and not frame by frame"
    ),
    "Kandinsky6Transformer3DModel": Unsupported("Kandinsky 6", _UNDECLARED),
    "Kandinsky6SRTransformer3DModel": Unsupported(
        "Kandinsky 6 SR", "enlarges a video tile by tile, and moves what is in it no further"
    ),
    "MiniMaxH3Transformer3DModel": Unsupported("MiniMax-H3", _PACKED),
    "MotifVideoTransformer3DModel": Unsupported("Motif-Video", _UNDECLARED),
    "SanaVideoTransformer3DModel": Unsupported("SANA-Video", _LINEAR),
    "SanaWMTransformer3DModel": Unsupported("SANA-WM", "mixes its frames by recurrence in most blocks, without a map"),
    "SanaWMLTX2RefinerTransformer3DModel": Unsupported("SANA-WM's refiner", _CACHED),
    "SkyReelsV2Transformer3DModel": Unsupported(
        "SkyReels-V2",
        "may have its frames at different timesteps, none of them attending to later ones, which a filter over all "
        "frames would let in",
    ),
    "WanAnimate2Transformer3DModel": Unsupported("Wan-Animate 2", _MODULAR),
}
