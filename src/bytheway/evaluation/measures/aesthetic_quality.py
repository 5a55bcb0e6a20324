"""Aesthetic quality: LAION's linear predictor on CLIP's image embeddings (VBench)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway.clips.frames import Frames
from bytheway.evaluation.measures.backbones.clip import Clip
from bytheway.evaluation.measures.backbones.laion import Head
from bytheway.evaluation.measures.checks import check_clip
from bytheway.evaluation.measures.frame_scores import frame_measurement
from bytheway.evaluation.measures.measure import Measurement, named
from bytheway.evaluation.measures.prepare import for_clip, said_for_clip


def aesthetic_scores(embeddings: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Scores out of 10, (frames,), of CLIP's image embeddings (frames, channels), by a linear head (1, channels)."""
    return F.linear(F.normalize(embeddings.float(), dim=-1), weight, bias).squeeze(-1)


class AestheticQuality:
    """The measure, with CLIP's image tower and the head."""

    def __init__(self, clip: Clip, head: Head) -> None:
        self._clip, self._head = clip, head
        self.names = (named("aesthetic_quality", (clip.backbone, head.backbone))[0],)

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, "aesthetic quality")
        embeddings = torch.cat([self._clip(for_clip(chunk)) for chunk in self._clip.placement.chunks(frames)])
        scores = aesthetic_scores(embeddings.cpu(), self._head.weight, self._head.bias)
        backbones = (self._clip.backbone, self._head.backbone)
        remarks = (*said_for_clip(frames), *self._clip.remarks)
        return (frame_measurement("aesthetic_quality", scores.double() / 10, backbones, remarks=remarks),)
