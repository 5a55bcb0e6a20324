"""Files and folders that are written wholly or not at all, and whether they can be."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bytheway.errors import ByTheWayError


def write_atomically(path: Path, text: str) -> None:
    """Write beside `path`, then move into place: a reader never meets half a file. A link stays one."""
    place = Path(os.path.realpath(path))
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        raise ByTheWayError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):  # not there, or where nothing can be
            draft.unlink()


def check_file(path: Path) -> None:
    """Raise ByTheWayError when no file can be made or replaced at `path`; leaves nothing behind."""
    if path.is_dir():
        raise ByTheWayError(f"{path} is a folder: choose another name.")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Raise ByTheWayError when nothing can be put at `path`, or where its first missing folder would be."""
    nearest = next(parent for parent in Path(os.path.realpath(path)).parents if parent.exists())
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
def parents_made(path: Path) -> Iterator[None]:
    """The folders above `path` are there while the block runs; those that were not go with a block that fails."""
    missing = [parent for parent in path.absolute().parents if not parent.exists()]
    try:
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with suppress(OSError):  # not made yet, or somebody else's by now
                parent.rmdir()
        raise


@contextmanager
def folder_at_once(folder: Path) -> Iterator[Path]:
    """A draft of `folder` to write into, beside it; moved into place at the end, removed where that is not reached."""
    check_vacant(folder)
    place = folder.absolute()
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with parents_made(place):
            draft.mkdir()
            try:
                yield draft
                if place.exists():
                    place.rmdir()
                draft.rename(place)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise ByTheWayError(f"{folder} cannot be written: {error.strerror or error}.") from error
