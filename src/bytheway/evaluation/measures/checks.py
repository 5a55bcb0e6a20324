"""What a clip must have to be measured at all."""

from __future__ import annotations

from typing import Final

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError

SMALLEST: Final = 16
"""Of a side, in pixels: what is smaller shows networks nothing."""


def check_clip(frames: Frames, measure: str, fewest: int = 1) -> None:
    """Raise ByTheWayError for a clip with too few frames or pixels for a measure, which the sentence names."""
    count, height, width, _ = frames.shape
    if min(height, width) < SMALLEST:
        raise ByTheWayError(
            f"The frames have {width}x{height} pixels; {measure} requires {SMALLEST} on each side, so give larger ones."
        )
    if count < fewest:
        raise ByTheWayError(too_short(count, measure, fewest))


def too_short(count: int, measure: str, fewest: int) -> str:
    """What is said of a clip with too few frames for a measure."""
    has = "1 frame" if count == 1 else f"{count} frames"
    return f"The clip has {has}; {measure} requires {fewest}, so give a longer one."
