"""Where the clips of a command go: their names, their size, their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytheway.clips.write import check_output
from bytheway.errors import ByTheWayError
from bytheway.files import check_file
from bytheway.generation.clip import Clip, comfortable_scale

LONGEST_NAME = 160  # bytes of a prompt; file systems take 255, seed and ending included


@dataclass(frozen=True)
class Destination:
    """The files of `count` clips: one is `output` itself, several are numbered from 1; None: named after the prompt.

    Where `output` is a `folder`, they are 0001.mp4, 0002.mp4 and so on in it.
    """

    output: Path | None
    record: Path | None
    scale: int | None
    count: int
    folder: bool = False

    def check(self, fps: float | None, size: tuple[int, int] = (1, 1)) -> None:
        """Raise ByTheWayError for a place that cannot be written, while nothing has been computed yet.

        `size`: width and height of the clips in pixels, once they are known.
        """
        if self.record is not None and self.record.suffix not in (".csv", ".jsonl"):
            raise ByTheWayError(f"{self.record} is no name for a record; let it end in .csv or .jsonl.")
        for index in range(self.count):
            path = self._place(index) or Path("clip.mp4")
            scale = self.scale or comfortable_scale(path, min(size))
            check_output(path, 8.0 if fps is None else fps, (scale * size[0], scale * size[1]))
            if self.record is not None:
                check_file(self._numbered(self.record, index))

    def save(self, clip: Clip, index: int) -> Path:
        """Write a clip, and its record where one is wanted; returns where the clip is."""
        path = clip.save(self._place(index) or _named_after(clip.settings), scale=self.scale)
        if self.record is not None and clip.record is not None:
            clip.record.save(self._numbered(self.record, index))
        return path

    def _place(self, index: int) -> Path | None:
        if self.output is None:
            return None
        return self.output / f"{index + 1:04d}.mp4" if self.folder else self._numbered(self.output, index)

    def _numbered(self, path: Path, index: int) -> Path:
        if self.count == 1 or not path.name:  # of "." no other name can be made, and `check` refuses it
            return path
        return path.with_name(f"{path.stem}-{index + 1}{path.suffix}")


def _named_after(settings: Mapping[str, Any]) -> Path:
    """A name that says prompt and seed, and that no file has yet."""
    words = re.sub(r"\W+", "-", settings["prompt"].lower()).strip("-")[:60]
    words = words.encode()[:LONGEST_NAME].decode(errors="ignore").strip("-")
    name = f"{words or 'clip'}-{settings['seed']}"
    path, number = Path(f"{name}.mp4"), 1
    while path.exists():
        number += 1
        path = Path(f"{name}-{number}.mp4")
    return path
