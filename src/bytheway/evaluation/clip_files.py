"""The clips that somebody names: files, folders of them, patterns. Importing this imports no torch."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bytheway.clips.read import PICTURES, natural, read_metadata
from bytheway.errors import ByTheWayError
from bytheway.evaluation.manifest import clips_in, is_manifest
from bytheway.evaluation.measures.vbench import prompt_of

VIDEOS: Final = frozenset({".mp4", ".gif", ".webp", ".mov", ".avi", ".mkv", ".webm", ".m4v"})


@dataclass(frozen=True)
class ClipFile:
    """A clip on disk, and what is known of it before its frames are read.

    Attributes:
        path: of the file, or of the folder that holds its frames as pictures.
        settings: those that the clip carries; empty where bytheway did not make it.
    """

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.name if self.path.is_dir() else self.path.stem

    @property
    def prompt(self) -> str:
        """What the clip carries, else its name less a number at the end, as VBench reads it."""
        prompt = self.settings.get("prompt")
        return prompt if isinstance(prompt, str) else prompt_of(self.name)

    @property
    def made_from(self) -> tuple[str, int] | None:
        """Prompt and seed; None where the clip does not carry both."""
        prompt, seed = self.settings.get("prompt"), self.settings.get("seed")
        return (prompt, seed) if isinstance(prompt, str) and isinstance(seed, int) else None


def find_clips(places: Iterable[str | os.PathLike[str]]) -> list[ClipFile]:
    """The clips that files, folders and patterns such as "out/*.mp4" name, each once, in natural order in a folder.

    A folder stands for the videos in it, and for folders of pictures in it; a folder that holds pictures alone is one
    clip itself. The manifest of a batch run, its folder or a file of it, stands for the clips that it names.

    Raises:
        ByTheWayError: there is no such file, or a folder holds no clip.
    """
    found: dict[str, ClipFile] = {}
    for place in places:
        if is_manifest(Path(place)):
            named = [ClipFile(path, settings) for path, settings in clips_in(Path(place))]
        else:
            named = [_clip_file(path) for path in _named(place)]
        for clip in named:
            found.setdefault(os.path.realpath(clip.path), clip)
    if not found:
        raise ByTheWayError("No clips are named; give files, folders or patterns.")
    return list(found.values())


def _named(place: str | os.PathLike[str]) -> list[Path]:
    path = Path(place)
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return [path]
    matching = sorted(map(Path, glob.glob(str(place), recursive=True)), key=natural)
    if not matching:
        raise ByTheWayError(f"There is no file {place}.")
    # Of a pattern that also matches a list or a note beside the clips, the clips are meant.
    clips = [path for path in matching if _is_clip(path)]
    if not clips:
        raise ByTheWayError(f"{place} matches no clips, only {matching[0]} and the like.")
    return clips


def _in_folder(folder: Path) -> list[Path]:
    try:
        inside = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural)
    except OSError as error:
        raise ByTheWayError(f"{folder} cannot be read: {error.strerror}.") from error
    clips = [path for path in inside if _is_clip(path)]
    if clips:
        return clips
    if any(path.suffix.lower() in PICTURES for path in inside):
        return [folder]
    raise ByTheWayError(f"The folder {folder} holds no clips (.mp4, .gif, .webp, folders of pictures).")


def _is_clip(path: Path) -> bool:
    if path.is_dir():
        return any(inside.suffix.lower() in PICTURES for inside in path.iterdir())
    return path.suffix.lower() in VIDEOS


def _clip_file(path: Path) -> ClipFile:
    try:
        return ClipFile(path, read_metadata(path))
    except ByTheWayError:  # it carries none, or is no clip at all, which reading its frames will say
        return ClipFile(path)
