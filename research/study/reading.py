"""What the judge reads of clips: everything that the figures are made of, so that no clip has to be looked at twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway.errors import ByTheWayError
from research.diorama.judge import WEIGHTS as JUDGE
from research.diorama.judge import Judge, labels_of, train_judge
from research.diorama.measures import measure
from research.diorama.outlines import WEIGHTS as OUTLINES
from research.diorama.outlines import Outlines, train_outlines
from research.diorama.world import Scene
from research.study.flow import dynamic, flow_lengths
from research.study.sampling import Arrays

FRAME_FEATURES, MOTION_FEATURES = "frame_features", "motion_features"


@dataclass(frozen=True)
class Readers:
    """Who reads clips: the judge, the outlines that do without it, and a name for their very weights."""

    judge: Judge
    outlines: Outlines
    name: str


def open_readers(folder: Path) -> Readers:
    """The finished readers in a folder; readings are stored under their name.

    Raises:
        ByTheWayError: one of them is not there.
    """
    digest = hashlib.sha256()
    for file in (JUDGE, OUTLINES):
        if not (folder / file).exists():
            raise ByTheWayError(f"There is no {file} in {folder}; python -m research.diorama.report makes one.")
        digest.update((folder / file).read_bytes())
    device = torch.device("cpu")
    return Readers(train_judge(folder, 0, device), train_outlines(folder, 0, device), digest.hexdigest()[:8])


def read(readers: Readers, clips: Tensor, scenes: list[Scene]) -> Arrays:
    """What clips (n, F, 3, H, W) in [-1, 1], made for the scenes, show; every array (n, ...).

    The measures of `research.diorama.measures`, and: `confidence`, the mean probability of the subject that the clip
    as a whole shows; `consistency` and `to_first`, the cosine of a frame's features with those of the frame before and
    of the first; `misshapen`, told by outlines and not by the judge; `flow`, in pixels per frame, and by it `dynamic`.
    Further `labels` (n, 4) as read, `centre` (n, F, 2) of the subject in pixels, and features of the frames (their
    mean) and of their succession, for Fréchet distances.
    """
    frames: list[Tensor] = []
    motions: list[Tensor] = []
    hooks = [
        readers.judge.features.register_forward_hook(_collect(frames)),
        readers.judge.temporal[3].register_forward_hook(_collect(motions)),
    ]
    try:
        reading = readers.judge.read(clips)
    finally:
        for hook in hooks:
            hook.remove()
    lengths = flow_lengths(clips)
    features = torch.cat(frames).unflatten(0, clips.shape[:2])
    opinions = reading.subject.softmax(-1)
    shown = opinions.mean(1, keepdim=True).argmax(-1, keepdim=True)
    more = {
        "confidence": opinions.gather(-1, shown.expand(-1, clips.shape[1], -1)).mean((1, 2)),
        "consistency": F.cosine_similarity(features[:, 1:], features[:, :-1], dim=-1).mean(1),
        "to_first": F.cosine_similarity(features[:, 1:], features[:, :1], dim=-1).mean(1),
        "misshapen": readers.outlines.misshapen(clips),
        "flow": lengths.mean((1, 2, 3)),
        "dynamic": dynamic(lengths),
        "labels": labels_of(reading.scenes()),
        "centre": reading.tracks()[0],
        FRAME_FEATURES: features.mean(1),
        MOTION_FEATURES: torch.cat(motions).mean(-1),
    }
    return measure(reading, scenes) | {name: values.numpy() for name, values in more.items()}


def _collect(into: list[Tensor]) -> Any:
    def hook(module: Any, inputs: Any, output: Tensor) -> None:
        into.append(output)

    return hook
