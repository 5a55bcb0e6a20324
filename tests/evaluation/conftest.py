"""Measures for tests: arithmetic on pixels that anybody can redo, in the form that all measures have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bytheway.clips.frames import Frames
from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.measure import Measurement


class Brightness:
    """Mean of the pixels of each frame."""

    names = ("brightness",)

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        values = tuple(float(frame.mean()) for frame in frames)
        at = tuple(range(len(frames)))
        return (Measurement("brightness", float(np.mean(values)), values, at, "frame", "", "higher", vbench=False),)


class Change:
    """Mean change from frame to frame, less of which is better, and whether there is any."""

    names = ("change", "changes")

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        if len(frames) < 2:
            raise ByTheWayError("The clip has one frame; change is measured from two frames on.")
        values = tuple(np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3)).tolist())
        at = tuple(range(1, len(frames)))
        change = float(np.mean(values))
        return (
            Measurement("change", change, values, at, "pair", "", "lower", vbench=False),
            Measurement("changes", change > 1, values, at, "pair", "", None, vbench=False),
        )


@pytest.fixture
def measures() -> tuple[Brightness, Change]:
    return Brightness(), Change()


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Saves a small clip of one grey, or of greys that change, below the test's folder."""

    def saved(
        name: str, level: float = 100, *, frames: int = 4, side: int = 16, step: float = 0, **settings: object
    ) -> Path:
        greys = (level + step * np.arange(frames)).clip(0, 255).astype(np.uint8)
        clip = np.broadcast_to(greys[:, None, None, None], (frames, side, side, 3))
        return save_video(clip, tmp_path / name, 8.0, settings, overwrite=True)

    return saved
