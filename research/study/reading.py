"""What the judge reads of clips: everything that the figures are made of, so that no clip has to be looked at twice."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway.errors import ByTheWayError
from research.diorama.judge import Judge, labels_of, train_judge
from research.diorama.measures import measure
from research.diorama.world import Scene
from research.study.flow import mean_flow
from research.study.sampling import Arrays

FRAME_FEATURES, MOTION_FEATURES = "frame_features", "motion_features"


def open_judge(folder: Path) -> tuple[Judge, str]:
    """The finished judge in a folder, and a name for its very weights, under which readings are stored."""
    weights = folder / "judge.safetensors"
    if not weights.exists():
        raise ByTheWayError(f"There is no judge.safetensors in {folder}; python -m research.diorama.report makes one.")
    return train_judge(folder, 0, torch.device("cpu")), hashlib.sha256(weights.read_bytes()).hexdigest()[:8]


def read(judge: Judge, clips: Tensor, scenes: list[Scene]) -> Arrays:
    """What clips (n, F, 3, H, W) in [-1, 1], made for the scenes, show; every array (n, ...).

    The measures of `research.diorama.measures`, and: `confidence`, the mean probability of the subject that the clip
    as a whole shows; `consistency` and `to_first`, the cosine of a frame's features with those of the frame before and
    of the first; `flow`, in pixels per frame. Further `labels` (n, 4) as read, `centre` (n, F, 2) of the subject in
    pixels, and features of the frames (their mean) and of their succession, for Fréchet distances.
    """
    frames: list[Tensor] = []
    motions: list[Tensor] = []
    hooks = [
        judge.features.register_forward_hook(_collect(frames)),
        judge.temporal[3].register_forward_hook(_collect(motions)),
    ]
    try:
        reading = judge.read(clips)
    finally:
        for hook in hooks:
            hook.remove()
    features = torch.cat(frames).unflatten(0, clips.shape[:2])
    opinions = reading.subject.softmax(-1)
    shown = opinions.mean(1, keepdim=True).argmax(-1, keepdim=True)
    more = {
        "confidence": opinions.gather(-1, shown.expand(-1, clips.shape[1], -1)).mean((1, 2)),
        "consistency": F.cosine_similarity(features[:, 1:], features[:, :-1], dim=-1).mean(1),
        "to_first": F.cosine_similarity(features[:, 1:], features[:, :1], dim=-1).mean(1),
        "flow": mean_flow(clips),
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
