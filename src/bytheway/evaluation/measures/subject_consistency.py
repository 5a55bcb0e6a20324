"""Subject consistency: how alike frames are by DINO's features (VBench)."""

from __future__ import annotations

import torch

from bytheway.clips.frames import Frames
from bytheway.evaluation.measures.backbones.dino import Dino
from bytheway.evaluation.measures.checks import check_clip
from bytheway.evaluation.measures.consistency import consistency_measurement
from bytheway.evaluation.measures.measure import Measurement, named
from bytheway.evaluation.measures.prepare import for_dino, said_for_dino


class SubjectConsistency:
    """The measure, with DINO."""

    def __init__(self, dino: Dino) -> None:
        self._dino = dino
        self.names = (named("subject_consistency", (dino.backbone,))[0],)

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, "subject consistency", fewest=2)
        few = self._dino.placement.chunks(frames)
        features = torch.cat([self._dino(for_dino(chunk)) for chunk in few])
        remarks = (*said_for_dino(frames), *self._dino.remarks)
        return (consistency_measurement("subject_consistency", features, self._dino.backbone, remarks),)
