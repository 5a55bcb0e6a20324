"""Files and folders that are written wholly or not at all, and whether they can be; damaged JSON; digests."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError

_SCRATCH: Final = ".bytheway-draft-"  # begins the names of the folders in which drafts lie
_REPLACED: Final = "replaced"  # what was at the place, while a folder is put there
_DAY: Final = 24 * 60 * 60  # seconds


def data_folder() -> Path:
    """The user's folder of what bytheway keeps; it need not be there.

    It is `BYTHEWAY_DATA` where that is set, else `bytheway` in the place that the platform has for such data:
    `~/.local/share` (or `XDG_DATA_HOME`) on Linux, `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on
    Windows.
    """
    chosen = os.environ.get("BYTHEWAY_DATA")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "bytheway"


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write a file or a folder to, which becomes `path` if the block ends well and vanishes if it does not.

    It lies beside `path` and has the same ending. A file then takes the place of a file, and a folder that of a folder
    with all it holds; where the block fails, what was there before is untouched. A link stays one: what it leads to is
    written. Missing folders above `path` are made, and go again with a block that fails.

    Raises:
        ByTheWayError: an OSError in the block, such as a full disk, or a place that cannot be written.
    """
    try:
        place = Path(os.path.realpath(path))
        with _parents_made(place):
            _remove_abandoned(place.parent)
            scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=place.parent))
            try:
                draft = scratch / f"draft{path.suffix}"
                yield draft
                _put(draft, place, scratch / _REPLACED)
            finally:
                if os.path.exists(place) or not (scratch / _REPLACED).exists():  # else that is the only copy
                    shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ByTheWayError(f"{path} cannot be written: {error.strerror or error}.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as `written` does.

    Raises:
        ByTheWayError: the file cannot be written.
    """
    with written(path) as draft:
        draft.write_text(text, encoding="utf-8")


def read_json_object(path: Path, name: str) -> dict[str, Any] | None:
    """The JSON object in a file, which errors call by `name`; None where there is no such file.

    Raises:
        ByTheWayError: the file cannot be read, or holds no JSON object.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ByTheWayError(f"{name} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ByTheWayError(f"{name} is damaged: it holds no JSON object; download or save it again.")
    return content


def check_file(path: Path) -> None:
    """Raise ByTheWayError when no file can be made or replaced at `path`; leaves nothing behind."""
    check_writable(path)
    if path.is_dir():
        raise ByTheWayError(f"{path} is a folder: choose another name.")


def check_writable(path: Path) -> None:
    """Raise ByTheWayError when nothing can be put at `path`, or where its first missing folder would be."""
    try:
        place = Path(os.path.realpath(path))
        place.exists()  # which a name that is too long is an error for
        nearest = next(parent for parent in place.parents if parent.exists())
    except OSError as error:
        raise ByTheWayError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ByTheWayError(f"{path} cannot be written: {error.strerror} ({nearest}).") from error


def check_vacant(folder: Path) -> None:
    """Raise ByTheWayError where a new folder cannot be put: there is a file, or a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ByTheWayError(f"{folder} is there already and is not replaced; give another folder, or remove it first.")


@contextmanager
def _parents_made(place: Path) -> Iterator[None]:
    """The folders above `place` are there while the block runs; those that were not go with a block that fails."""
    missing = [parent for parent in place.parents if not parent.exists()]
    try:
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with suppress(OSError):  # not made yet, or somebody else's by now
                parent.rmdir()
        raise


def _put(draft: Path, place: Path, replaced: Path) -> None:
    """Move the draft into place; of the two moves that a folder in place of another takes, none or both are made."""
    if not (draft.is_dir() and place.is_dir()):
        os.replace(draft, place)
        return
    try:
        os.replace(place, replaced)
        os.replace(draft, place)
    except BaseException:
        if replaced.exists() and not place.exists():
            os.replace(replaced, place)
        raise


def _remove_abandoned(folder: Path) -> None:
    """Remove drafts that killed processes left more than a day ago, unless they hold what they were to replace."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        with suppress(OSError):  # another process removes it, or it is another user's
            abandoned = time.time() - scratch.stat().st_mtime > _DAY and not (scratch / _REPLACED).exists()
            if abandoned and scratch.is_dir() and not scratch.is_symlink():
                shutil.rmtree(scratch, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
