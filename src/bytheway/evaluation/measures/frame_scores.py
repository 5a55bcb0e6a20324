"""Imaging quality, and any other measure that scores frames by a network that the user brings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.brought import BroughtNetwork
from bytheway.evaluation.measures.checks import check_clip
from bytheway.evaluation.measures.measure import Backbone, Direction, Measurement, named
from bytheway.evaluation.measures.prepare import resized, within

LONGEST = 512
"""Of the longer side of frames whose imaging quality is scored, in pixels (VBench)."""


def for_imaging_quality(frames: Tensor) -> Tensor:
    """Frames (n, 3, height, width), 0 to 255, in [0, 1] with the longer side at most 512, bilinear."""
    return resized(frames, within(frames, LONGEST), "bilinear") / 255


def untouched(frames: Tensor) -> Tensor:
    """Frames in [0, 1]."""
    return frames / 255


def frame_measurement(
    measure: str,
    scores: Tensor,
    backbones: tuple[Backbone, ...],
    unit: str = "",
    direction: Direction | None = "higher",
    remarks: tuple[str, ...] = (),
) -> Measurement:
    """The measurement of a clip whose value is the mean of those of its frames, (frames,)."""
    values = tuple(scores.double().tolist())
    name, vbench = named(measure, backbones)
    return Measurement(
        name,
        value=sum(values) / len(values),
        values=values,
        at=tuple(range(len(values))),
        over="frame",
        unit=unit,
        direction=direction,
        vbench=vbench,
        backbones=backbones,
        remarks=remarks,
    )


class FrameScores:
    """A measure that is the mean of scores of the frames.

    Args:
        measure: its name.
        network: frames (n, 3, height, width) in, scores (n,) out.
        prepare: what makes the network's input of frames, 0 to 255.
        unit: of the scores.
        direction: which are better.
    """

    def __init__(
        self,
        measure: str,
        network: BroughtNetwork,
        prepare: Callable[[Tensor], Tensor] = untouched,
        unit: str = "",
        direction: Direction | None = "higher",
    ) -> None:
        self.names = (named(measure, (network.backbone,))[0],)
        self._measure, self._network, self._prepare = measure, network, prepare
        self._unit, self._direction = unit, direction

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, self._measure)
        scores = torch.cat([self._scores(chunk) for chunk in self._network.placement.chunks(frames)])
        backbones = (self._network.backbone,)
        return (
            frame_measurement(
                self._measure, scores, backbones, self._unit, self._direction, remarks=self._remarks(frames)
            ),
        )

    def _scores(self, chunk: Tensor) -> Tensor:
        scores = self._network(self._prepare(chunk))
        scores = scores.flatten()
        if len(scores) != len(chunk) or not scores.isfinite().all():
            raise ByTheWayError(
                f"{self._network.backbone.name} gave {len(scores)} scores for {len(chunk)} frames, or some that are no "
                "finite numbers; a network for frames answers (n, 3, height, width) with n scores."
            )
        return scores

    def _remarks(self, frames: Frames) -> tuple[str, ...]:
        height, width = self._prepare(torch.zeros(1, 3, *frames.shape[1:3])).shape[-2:]
        if (height, width) == frames.shape[1:3]:
            return ()
        return (f"The frames were scaled to {width}x{height} pixels.",)
