"""A finished clip."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bytheway.clips.frames import Frames
from bytheway.clips.sheets import enlarge, factor_to_reach, side_by_side
from bytheway.clips.write import save_video

if TYPE_CHECKING:
    from bytheway.record import Record

COMFORTABLE: Final = 256  # pixels; smaller videos are unpleasant to watch


@dataclass(frozen=True, eq=False)
class Clip:
    """A finished clip, and everything that is needed to make it again.

    Attributes:
        frames: uint8, (frames, height, width, 3).
        vanilla: the same seed without the method, where it was asked for.
        record: what the method measured, where it was asked for.
        fps: frames a second.
        seconds: how long it took; of clips made at once, each one's share.
        settings: what makes it again, ready for JSON.
    """

    frames: Frames
    vanilla: Frames | None
    record: Record | None
    fps: float
    seconds: float
    settings: dict[str, Any]

    def shown(self) -> Frames:
        """The clip itself, or vanilla and enhanced side by side."""
        return self.frames if self.vanilla is None else compared(self.vanilla, self.frames)

    def save(self, path: str | os.PathLike[str], *, scale: int | None = None, overwrite: bool = False) -> Path:
        """Write what is shown of the clip, together with its settings (`bytheway.clips.read.read_metadata`).

        Args:
            path: ends in .mp4, .gif or .webp; without an ending it is a folder of PNGs.
            scale: how many times as long the sides of the frames are made; None: as `comfortable_scale` says.
            overwrite: replace a file that bytheway did not make.

        Returns:
            Where the clip is.

        Raises:
            ByTheWayError: it cannot be written there.
        """
        frames, path = self.shown(), Path(path)
        scale = scale or comfortable_scale(path, min(frames.shape[1:3]))
        settings = {**self.settings, "scale": scale}
        return save_video(enlarge(frames, scale), path, self.fps, settings, overwrite=overwrite)


def comfortable_scale(path: Path, shorter_side: int) -> int:
    """How many times videos are enlarged, so that their shorter side has 256 pixels or more; PNGs keep theirs."""
    return factor_to_reach(COMFORTABLE, shorter_side) if path.suffix else 1


def compared(vanilla: Frames, enhanced: Frames) -> Frames:
    """The two variants of a clip side by side."""
    return side_by_side([("vanilla", vanilla), ("enhanced", enhanced)])
