"""Temporal flickering: how little pixels change from frame to frame (VBench)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bytheway.clips.frames import Frames
from bytheway.evaluation.measures.checks import check_clip
from bytheway.evaluation.measures.measure import Measurement


def frame_differences(frames: Frames) -> list[float]:
    """The mean absolute difference of neighbouring frames, over all pixels and colours, 0 to 255."""
    return [mean_difference(before, after) for before, after in pairwise(frames)]


def mean_difference(one: Frames, other: Frames) -> float:
    """The mean absolute difference of two pictures of bytes, 0 to 255."""
    return float(np.abs(one.astype(np.int16) - other).mean(dtype=np.float64))


def score_of(differences: list[float]) -> float:
    """What VBench makes of mean absolute differences: 1 where there are none, 0 where all are 255."""
    return (255 - sum(differences) / len(differences)) / 255


class TemporalFlickering:
    """The measure; arithmetic on pixels."""

    names = ("temporal_flickering",)

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, "temporal flickering", fewest=2)
        differences = frame_differences(frames)
        return (
            Measurement(
                "temporal_flickering",
                value=score_of(differences),
                values=tuple((255 - one) / 255 for one in differences),
                at=tuple(range(1, len(frames))),
                over="pair",
                unit="",
                direction="higher",
                vbench=True,
                details={"mean_abs_difference": tuple(differences)},
            ),
        )
