"""Motion smoothness: how well every other frame is foreseen from its neighbours by an interpolator (VBench)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.backbone import Interpolator
from bytheway.evaluation.measures.checks import check_clip
from bytheway.evaluation.measures.measure import Measurement, named
from bytheway.evaluation.measures.prepare import cropped, padded
from bytheway.evaluation.measures.temporal_flickering import mean_difference, score_of

MULTIPLE = 16
"""Of which both sides of what interpolators are given are multiples: AMT's."""


def in_bytes(middle: Tensor) -> Frames:
    """Pictures (n, 3, height, width) in [0, 1] as (n, height, width, 3) bytes, rounded down (VBench)."""
    return np.asarray((middle.float() * 255).clamp(0, 255).byte().movedim(1, -1).cpu().numpy(), dtype=np.uint8)


def scored_frames(count: int) -> range:
    """The frames of a clip that are compared: odd ones between two even ones, so never the last of an even number."""
    return range(1, count - 1, 2)


def _said(count: int) -> tuple[str, ...]:
    """Which frame of a clip of so many is left out, in a sentence."""
    return () if count % 2 else (f"Frame {count - 1}, the last, was not compared, for none comes after it.",)


class MotionSmoothness:
    """The measure, with an interpolator."""

    def __init__(self, interpolator: Interpolator) -> None:
        self._interpolator = interpolator
        self.names = (named("motion_smoothness", (interpolator.backbone,))[0],)

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, "motion smoothness", fewest=3)
        at = tuple(scored_frames(len(frames)))
        middles = (middle for few in self._middles(frames[::2]) for middle in in_bytes(few))
        differences = [mean_difference(frames[index], middle) for index, middle in zip(at, middles, strict=True)]
        backbones = (self._interpolator.backbone,)
        name, vbench = named("motion_smoothness", backbones)
        return (
            Measurement(
                name,
                value=score_of(differences),
                values=tuple((255 - one) / 255 for one in differences),
                at=at,
                over="frame",
                unit="",
                direction="higher",
                vbench=vbench,
                backbones=backbones,
                details={"mean_abs_difference": tuple(differences)},
                remarks=(f"Every other frame was foreseen by {self._interpolator.backbone.name}.", *_said(len(frames))),
            ),
        )

    def _middles(self, kept: Frames) -> Iterator[Tensor]:
        """The middle of each neighbouring two of the kept frames, (n, 3, height, width) a few at a time."""
        place = self._interpolator.placement
        height, width = kept.shape[1:3]
        step = place.pairs_at_once(height, width)
        firsts, seconds = (place.chunks(some, step) for some in (kept[:-1], kept[1:]))
        for first, second in zip(firsts, seconds, strict=True):
            pictures = [padded(some / 255, MULTIPLE) for some in (first, second)]
            with place.computing():
                middle = self._interpolator(*pictures)
            if middle.shape != pictures[0].shape or not middle.isfinite().all():
                raise ByTheWayError(
                    f"{self._interpolator.backbone.name} gave {tuple(middle.shape)} for frames of "
                    f"{tuple(pictures[0].shape)}, or values that are no finite numbers; an interpolator answers two "
                    "frames in [0, 1] with the one between them."
                )
            yield cropped(middle, height, width, MULTIPLE)
