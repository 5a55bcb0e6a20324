"""Background consistency: how alike frames are by CLIP's features (VBench)."""

from __future__ import annotations

import torch

from bytheway.clips.frames import Frames
from bytheway.evaluation.measures.backbones.clip import Clip
from bytheway.evaluation.measures.checks import check_clip
from bytheway.evaluation.measures.consistency import consistency_measurement
from bytheway.evaluation.measures.measure import Measurement, named
from bytheway.evaluation.measures.prepare import for_clip, said_for_clip


class BackgroundConsistency:
    """The measure, with CLIP's image tower."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self.names = (named("background_consistency", (clip.backbone,))[0],)

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, "background consistency", fewest=2)
        features = torch.cat([self._clip(for_clip(chunk)) for chunk in self._clip.placement.chunks(frames)])
        remarks = (*said_for_clip(frames), *self._clip.remarks)
        return (consistency_measurement("background_consistency", features, self._clip.backbone, remarks),)
