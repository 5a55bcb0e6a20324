"""How alike the frames of a clip are by features of them: what subject and background consistency have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from bytheway.evaluation.measures.measure import Backbone, Measurement, named


@dataclass(frozen=True)
class Consistency:
    """How alike each frame but the first is to others.

    Attributes:
        to_previous: cosines to the frame before, (frames - 1,), -1 to 1.
        to_first: cosines to the first frame.
        values: the mean of the two, negative cosines counting as 0.
    """

    to_previous: tuple[float, ...]
    to_first: tuple[float, ...]
    values: tuple[float, ...]


def consistency(features: torch.Tensor) -> Consistency:
    """The consistency of a clip by the features of its frames, (frames, channels) with two frames or more (VBench)."""
    unit = F.normalize(features.float(), dim=-1)
    to_previous = F.cosine_similarity(unit[1:], unit[:-1], dim=-1)
    to_first = F.cosine_similarity(unit[1:], unit[:1], dim=-1)
    values = (to_previous.double().clamp_min(0) + to_first.double().clamp_min(0)) / 2
    return Consistency(*(tuple(one.tolist()) for one in (to_previous, to_first, values)))


def consistency_measurement(
    measure: str, features: torch.Tensor, backbone: Backbone, remarks: tuple[str, ...] = ()
) -> Measurement:
    """The measurement of a clip by the features of its frames: the mean over all frames but the first.

    Args:
        measure: its name.
        features: (frames, channels).
        backbone: what they are of.
        remarks: on what was done to the clip.
    """
    found = consistency(features)
    name, vbench = named(measure, (backbone,))
    return Measurement(
        name,
        value=sum(found.values) / len(found.values),
        values=found.values,
        at=tuple(range(1, len(features))),
        over="frame",
        unit="",
        direction="higher",
        vbench=vbench,
        backbones=(backbone,),
        remarks=remarks,
        details={"to_previous": found.to_previous, "to_first": found.to_first},
    )
