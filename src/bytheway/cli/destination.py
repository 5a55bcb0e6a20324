"""Where the clips of a command go: their names, their size, their files, and what is there already."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bytheway.clips.write import check_output
from bytheway.errors import ByTheWayError
from bytheway.files import check_file
from bytheway.generation.clip import Clip, comfortable_scale
from bytheway.generation.existing import first_difference, settings_at

LONGEST_NAME = 160  # bytes of a prompt; file systems take 255, seed and ending included

ENDINGS: Final = {"mp4": ".mp4", "gif": ".gif", "webp": ".webp", "png": ""}  # by format


@dataclass(frozen=True)
class Destination:
    """The files of some clips: one is `output` itself, several are numbered from 1; None: named after the prompt.

    A file that bytheway made is replaced by a clip of the same prompt. Anything else that is there is kept, unless
    `overwrite` says otherwise; what the clips are made from always is.

    Attributes:
        output: see above; where it is a `folder`, they are 0001.mp4, 0002.mp4 and so on in it.
        ending: of files whose names are not given, such as .mp4; none for folders of PNGs.
        record: the file of each clip's record, numbered likewise.
        scale: how many times the saved frames are enlarged; None: as suits the format.
        prompts: each has `num_videos` clips in a row, with seeds in a row.
        sources: files and folders that the clips are made from.
        overwrite: replace files, whatever they are.
        skip_existing: leave alone what is there as it would be made.
    """

    output: Path | None
    record: Path | None
    scale: int | None
    prompts: tuple[str, ...]
    num_videos: int = 1
    folder: bool = False
    ending: str = ".mp4"
    sources: tuple[Path, ...] = ()
    overwrite: bool = False
    skip_existing: bool = False

    @property
    def count(self) -> int:
        """How many clips there are."""
        return len(self.prompts) * self.num_videos

    def check(self, fps: float | None, size: tuple[int, int] = (1, 1)) -> None:
        """Raise ByTheWayError for a place that cannot be written, while nothing has been computed yet.

        `size`: width and height of the clips in pixels, once they are known.
        """
        if self.record is not None and self.record.suffix not in (".csv", ".jsonl"):
            raise ByTheWayError(f"{self.record} is no name for a record; let it end in .csv or .jsonl.")
        for index in range(self.count):
            path = self._place(index) or Path(f"clip{self.ending}")
            if index == 0 or os.path.lexists(path):  # the others are beside the first
                scale = self.scale or comfortable_scale(path, min(size))
                size_saved = (scale * size[0], scale * size[1])
                self._check_source(path)
                check_output(path, 8.0 if fps is None else fps, size_saved, overwrite=self.overwrite)
            if self.output is not None and not self.overwrite:
                _check_prompt(path, self.prompts[index // self.num_videos])
            if self.record is not None:
                self._check_record(self._numbered(self.record, index), path)

    def seed_there(self) -> int | None:
        """The seed of the clips that are there already; None where there are none."""
        for index in range(self.count):
            seed = settings_at(self._place(index)).get("seed")
            if isinstance(seed, int):
                return max(seed - index % self.num_videos, 0)
        return None

    def finished(self, index: int, wanted: Mapping[str, Any]) -> bool:
        """Whether a clip is there already and is to be left alone.

        Args:
            index: of the clip.
            wanted: the settings that it would be made with.

        Raises:
            ByTheWayError: what is there was made with other settings, and is not to be replaced.
        """
        path = self._place(index) or Path(_name_of(wanted) + self.ending)
        if not self.skip_existing or not path.exists():
            return False
        there = settings_at(path)
        wanted = {**wanted} if self.scale is None else {**wanted, "scale": self.scale}
        other = first_difference(there, wanted)
        if other is None:
            return True
        if self.output is not None and not self.overwrite:
            raise ByTheWayError(
                f"{path} was made with {other} {there.get(other)}, not {wanted[other]}; give another output.",
                setting="overwrite",
            )
        return False

    def replaced(self, indices: list[int]) -> list[Path]:
        """What is there of the places of these clips."""
        places = [self._place(index) for index in indices]
        return [path for path in places if path is not None and path.exists()]

    def save(self, clip: Clip, index: int) -> Path:
        """Write a clip, and its record where one is wanted; returns where the clip is."""
        place = self._place(index) or _named_after(clip.settings, self.ending)
        path = clip.save(place, scale=self.scale, overwrite=self.overwrite)
        if self.record is not None and clip.record is not None:
            clip.record.save(self._numbered(self.record, index))
        return path

    def _place(self, index: int) -> Path | None:
        if self.output is None:
            return None
        return self.output / f"{index + 1:04d}{self.ending}" if self.folder else self._numbered(self.output, index)

    def _numbered(self, path: Path, index: int) -> Path:
        if self.count == 1 or not path.name:  # of "." no other name can be made, and `check` refuses it
            return path
        return path.with_name(f"{path.stem}-{index + 1}{path.suffix}")

    def _check_source(self, path: Path) -> None:
        place = Path(os.path.realpath(path))
        for source in self.sources:
            real = Path(os.path.realpath(source))
            if place == real or place in real.parents:
                raise ByTheWayError(f"{path} is what the clip is made from; choose another name for the output.")

    def _check_record(self, record: Path, clip: Path) -> None:
        """A record does not say who made it, so none is replaced unasked."""
        self._check_source(record)
        check_file(record)
        kept = self.skip_existing and clip.exists()
        if not self.overwrite and not kept and record.exists() and record.stat().st_size:
            raise ByTheWayError(f"{record} is there already; choose another name.", setting="overwrite")


def ending_of(kind: str | None, output: Path | None, folder: bool) -> str:
    """What the files end in whose names are not given.

    Args:
        kind: mp4, gif, webp or png, where it was chosen.
        output: the name that was given.
        folder: whether that is of a folder for several clips.

    Raises:
        ByTheWayError: the name says another format, or says one for a folder.
    """
    if output is not None and not folder and kind is not None:
        raise ByTheWayError(f"The name {output} says the format; leave one of the two out.", setting="format")
    if output is not None and folder and output.suffix and output.suffix.lower() in ENDINGS.values():
        raise ByTheWayError(
            f"The clips of a list are files in a folder; name it {output.with_suffix('')} in place of {output}, "
            f"and choose the format {output.suffix[1:].lower()}.",
            setting="format",
        )
    return ENDINGS[kind or "mp4"]


def _check_prompt(path: Path, prompt: str) -> None:
    """Raise ByTheWayError where a clip of another prompt is."""
    there = settings_at(path)
    if there and there.get("prompt") != prompt:
        raise ByTheWayError(
            f"{path} is a clip of {there.get('prompt')!r}, not of {prompt!r}; choose another name.", setting="overwrite"
        )


def _name_of(settings: Mapping[str, Any]) -> str:
    """A name that says prompt and seed."""
    words = re.sub(r"\W+", "-", settings["prompt"].lower()).strip("-")[:60]
    words = words.encode()[:LONGEST_NAME].decode(errors="ignore").strip("-")
    return f"{words or 'clip'}-{settings['seed']}"


def _named_after(settings: Mapping[str, Any], ending: str) -> Path:
    """A name that no file has yet."""
    name = _name_of(settings)
    path, number = Path(name + ending), 1
    while path.exists():
        number += 1
        path = Path(f"{name}-{number}{ending}")
    return path
