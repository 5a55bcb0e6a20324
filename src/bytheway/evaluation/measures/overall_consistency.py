"""Overall consistency: how well a clip fits its prompt, by a network that the user brings (VBench)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.brought import BroughtNetwork
from bytheway.evaluation.measures.checks import check_clip
from bytheway.evaluation.measures.measure import Measurement, named
from bytheway.evaluation.measures.prepare import for_clip_in_bytes

FRAMES = 8
"""That are looked at of each clip."""


def middle_indices(count: int, wanted: int = FRAMES) -> list[int]:
    """The frames in the middle of equal intervals of a clip of so many; of a shorter clip all, the last repeated."""
    edges = np.linspace(0, count, min(wanted, count) + 1).astype(int)
    middles = [int(begin + end - 1) // 2 for begin, end in pairwise(edges)]
    return middles + middles[-1:] * (wanted - len(middles))


class OverallConsistency:
    """The measure, with a network that is given 8 pictures and the prompt."""

    def __init__(self, network: BroughtNetwork) -> None:
        self.names = (named("overall_consistency", (network.backbone,))[0],)
        self._network = network

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, "overall consistency")
        if not prompt:
            raise ByTheWayError("Overall consistency is that of a clip and its prompt; give the prompt.")
        at = middle_indices(len(frames))
        pictures = torch.cat([for_clip_in_bytes(few) for few in self._network.placement.chunks(frames[at])])
        cosine = self._network(pictures, prompt)
        if cosine.numel() != 1 or not cosine.isfinite().all():
            raise ByTheWayError(
                f"{self._network.backbone.name} gave {cosine.numel()} numbers for a clip and its prompt, or one that "
                "is not finite; it has to answer with one cosine."
            )
        name, vbench = named("overall_consistency", (self._network.backbone,))
        return (
            Measurement(
                name,
                value=cosine.item(),
                values=(cosine.item(),),
                at=(at[-1],),
                over="frame",
                unit="",
                direction="higher",
                vbench=vbench,
                backbones=(self._network.backbone,),
                remarks=(f"The clip was seen in its frames {', '.join(map(str, at))}.",),
            ),
        )
