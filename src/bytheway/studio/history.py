"""Every clip that was made, in a folder that is the database: each mp4 says itself how it was made.

A clip is written beside its place and renamed, so that the folder is whole whenever the process is killed. Beside
`NAME.mp4` there may be `NAME.json`, the curves of its record, and `NAME-vanilla.mp4`, the same without the method.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from bytheway.clips.frames import Frames
from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.files import read_json_object, write_text, written

VANILLA: Final = "-vanilla"
FORMATS: Final = ("mp4", "gif", "webp")
LARGEST: Final = 256 << 20  # bytes of a file that is given: an image, a video, a clip
_NAME: Final = re.compile(r"[0-9a-z][0-9a-z-]{0,127}")
_LONGEST: Final = 48  # characters of the prompt in a name


@dataclass(frozen=True)
class Entry:
    """A clip of the history.

    Attributes:
        name: by which it is called.
        path: of its mp4.
        settings: those it carries.
        partner: the name of the same clip with or without the method, where there is one.
    """

    name: str
    path: Path
    settings: Mapping[str, Any]
    partner: str | None

    @property
    def enhanced(self) -> bool:
        """Whether the method was at work."""
        return bool(self.settings.get("config"))


class History:
    """The clips of a folder; safe from several threads."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: is made where it is not there.

        Raises:
            ByTheWayError: it cannot be made.
        """
        self.folder = folder.absolute()
        self._deleted, self.inputs = self.folder / "deleted", self.folder / "inputs"
        self._exports = self.folder / "exports"
        self._lock = Lock()
        self._read: dict[tuple[str, int], dict[str, Any] | None] = {}
        try:
            for one in (self.folder, self._deleted, self.inputs, self._exports):
                one.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ByTheWayError(f"{self.folder} cannot be made: {error.strerror}.") from error

    def save(
        self,
        frames: Frames,
        vanilla: Frames | None,
        fps: float,
        settings: Mapping[str, Any],
        curves: Mapping[str, Any] | None = None,
    ) -> str:
        """Keep a clip.

        Args:
            frames: of the clip.
            vanilla: of the same without the method, where it was made.
            fps: frames a second.
            settings: what makes it again, ready for JSON.
            curves: what was recorded of it, ready for JSON.

        Returns:
            Its name.

        Raises:
            ByTheWayError: it cannot be written.
        """
        with self._lock:
            name = self._new_name(settings)
            if curves is not None:
                write_text(self.folder / f"{name}.json", json.dumps(curves))
            if vanilla is not None:
                of_vanilla = {**settings, "config": None, "compare": False}
                save_video(vanilla, self.folder / f"{name}{VANILLA}.mp4", fps, of_vanilla)
            save_video(frames, self.folder / f"{name}.mp4", fps, {**settings, "compare": False})
        return name

    def entries(self, words: str = "") -> list[Entry]:
        """The clips, the latest first; only those whose settings hold all of these words, in any case of letters."""
        wanted = words.lower().split()
        found = []
        for path in sorted(self.folder.glob("*.mp4"), key=_place, reverse=True):
            entry = self._entry(path)
            if entry is not None:
                text = f"{entry.name} {json.dumps(entry.settings, ensure_ascii=False)}".lower()
                if all(word in text for word in wanted):
                    found.append(entry)
        return found

    def entry(self, name: str) -> Entry:
        """The clip of a name.

        Raises:
            ByTheWayError: there is none.
        """
        entry = self._entry(self._path(name)) if self._path(name).is_file() else None
        if entry is None:
            raise ByTheWayError("There is no such clip in the history; it may have been deleted.")
        return entry

    def curves(self, name: str) -> dict[str, Any] | None:
        """What was recorded of a clip; None where nothing was."""
        return read_json_object(self._path(name).with_suffix(".json"), f"The record of {name}")

    def delete(self, name: str) -> None:
        """Take a clip out of the history; `restore` puts it back.

        Raises:
            ByTheWayError: there is none.
        """
        path = self.entry(name).path
        self._move(path, self._deleted)

    def restore(self, name: str) -> None:
        """Put a clip back that was deleted.

        Raises:
            ByTheWayError: it was not, or is there again.
        """
        path = self._deleted / f"{self._checked(name)}.mp4"
        if not path.is_file():
            raise ByTheWayError("There is no such clip among the deleted ones.")
        self._move(path, self.folder)

    def export(self, name: str, ending: str) -> Path:
        """The clip as a file of a format, with its settings inside.

        Args:
            ending: "mp4", "gif" or "webp".

        Raises:
            ByTheWayError: there is no such clip or format, or the format cannot show the clip.
        """
        entry = self.entry(name)
        if ending not in FORMATS:
            raise ByTheWayError(f"Clips are given out as {', '.join(FORMATS)}, not as {ending!r}.")
        if ending == "mp4":
            return entry.path
        place = self._exports / f"{name}.{ending}"
        if not place.is_file():
            frames, fps = load_video(entry.path)
            save_video(frames, place, fps, entry.settings)
        return place

    def keep_input(self, file: Path) -> Path:
        """A copy of a file that a clip starts from, under a name of ours, so that the clip can be made again.

        Raises:
            ByTheWayError: it cannot be read, is too large, or has the ending of none.
        """
        ending = file.suffix.lower()
        if not re.fullmatch(r"\.[a-z0-9]{2,5}", ending):
            raise ByTheWayError("The file says by no ending what it is; give an image or a video, such as ball.png.")
        try:
            if file.stat().st_size > LARGEST:
                raise ByTheWayError(f"The file has more than {LARGEST >> 20} MB; give a smaller one.")
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()[:24]
            place = self.inputs / f"{digest}{ending}"
            if not place.is_file():
                with written(place) as draft:
                    shutil.copyfile(file, draft)
        except OSError as error:
            raise ByTheWayError(f"The file cannot be read: {error.strerror}.") from error
        return place

    def kept_input(self, text: str) -> Path | None:
        """The kept file that settings name; None for any other, whatever it names."""
        place = self.inputs / Path(text).name
        return place if place.is_file() and Path(text) == place else None

    # ------------------------------------------------------------------------------------------------- files

    def _new_name(self, settings: Mapping[str, Any]) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", str(settings.get("prompt", "")).lower()).strip("-")[:_LONGEST].strip("-")
        stem = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), str(settings.get("seed", "")), words)))
        number = 1
        while True:
            name = stem if number == 1 else f"{stem}-{number}"
            if not any((folder / f"{name}.mp4").exists() for folder in (self.folder, self._deleted)):
                return name
            number += 1

    def _checked(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ByTheWayError("There is no such clip in the history; it may have been deleted.")
        return name

    def _path(self, name: str) -> Path:
        return self.folder / f"{self._checked(name)}.mp4"

    def _entry(self, path: Path) -> Entry | None:
        """What a file says of itself; None where it is no clip of ours."""
        if not _NAME.fullmatch(path.stem) or path.is_symlink():
            return None
        try:
            key = path.name, path.stat().st_mtime_ns
            if key not in self._read:
                try:
                    self._read[key] = read_metadata(path)
                except ByTheWayError:
                    self._read[key] = None
        except OSError:  # deleted meanwhile
            return None
        settings = self._read[key]
        if settings is None:
            return None
        stem = path.stem.removesuffix(VANILLA)
        partner = stem if stem != path.stem else f"{stem}{VANILLA}"
        there = (self.folder / f"{partner}.mp4").is_file()
        return Entry(path.stem, path, settings, partner if there else None)

    def _move(self, path: Path, to: Path) -> None:
        try:
            os.replace(path, to / path.name)
        except OSError as error:
            raise ByTheWayError(f"{path.name} cannot be moved: {error.strerror}.") from error


def _place(path: Path) -> tuple[str, bool]:
    """By the time in the name, and of two partners vanilla first."""
    return path.stem.removesuffix(VANILLA), not path.stem.endswith(VANILLA)


def settings_in(file: Path) -> dict[str, Any]:
    """The settings in a clip that somebody gives, whoever made it.

    Raises:
        ByTheWayError: it is no clip, carries none, or is too large; the sentence tells no path.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise ByTheWayError(f"The file has more than {LARGEST >> 20} MB; give a smaller one.")
        return read_metadata(file)
    except (ByTheWayError, OSError) as error:
        said = str(error).replace(str(file), "The file")
        raise ByTheWayError(said) from error
