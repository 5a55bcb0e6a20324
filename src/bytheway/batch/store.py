"""Where clips go: a folder, shared between machines or not, or an object store. A clip is there whole or not at all.

A name is given once: whoever puts a clip second finds it there, and the first stays. That needs no lock, no data base
and no clock, so any number of drivers and workers may write to one place.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from bytheway.errors import ByTheWayError

_PART: Final = ".part"  # ends the names of files that are being written
_ABANDONED: Final = 24 * 60 * 60  # seconds after which nobody is writing one any more
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


class StoreError(ByTheWayError):
    """Something cannot be written or read where the clips are, such as on a full disk."""


class Store(Protocol):
    """A place with files of names such as "vanilla/0123456789abcdef.mp4"."""

    def prepare(self) -> None:
        """Make the place, see that it can be written, and remove what killed runs left half-written long ago."""

    def names(self, folder: str) -> Iterator[str]:
        """Every whole file in a folder of the place; none where there is no such folder."""

    def has(self, name: str) -> bool:
        """Whether a file is there."""

    def put(self, file: Path, name: str) -> bool:
        """Put a copy of a local file there, whole or not at all; False where one of that name is there, which stays."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """A file of the place as one of this machine, while the block runs."""
        ...


def open_store(place: str) -> Store:
    """The store of a folder's path or of an address such as "s3://bucket/clips".

    Raises:
        StoreError: there is no way to reach such an address.
    """
    if re.match(r"[a-z][a-z0-9+.-]+://", place) is None:
        return FolderStore(Path(os.path.abspath(place)))
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    try:
        filesystem, root = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{place} cannot be reached: {error}.") from error
    if isinstance(filesystem, LocalFileSystem):  # which would put a second clip over the first
        return FolderStore(Path(root))
    return ObjectStore(filesystem, root, place)


class FolderStore:
    """A folder. Files are written beside their place, to the disk, and then linked to their name."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self) -> None:
        with self._said():
            self._root.mkdir(parents=True, exist_ok=True)
            probe = self._root / f".{uuid4().hex}{_PART}"
            try:
                probe.write_bytes(b"bytheway")
                now = probe.stat().st_mtime  # by the clock that dates the others: those of two machines may differ
            finally:
                probe.unlink(missing_ok=True)
            for part in [*self._root.glob(f".*{_PART}"), *self._root.glob(f"*/.*{_PART}")]:
                with suppress(FileNotFoundError):  # another driver was faster
                    if now - part.stat().st_mtime > _ABANDONED:
                        part.unlink()

    def names(self, folder: str) -> Iterator[str]:
        with self._said():
            try:
                with os.scandir(self._root / folder) as entries:
                    yield from (f"{folder}/{one.name}" for one in entries if not one.name.startswith("."))
            except FileNotFoundError:
                return

    def has(self, name: str) -> bool:
        return (self._root / name).exists()

    def put(self, file: Path, name: str) -> bool:
        place = self._root / name
        part = place.with_name(f".{place.stem}.{uuid4().hex}{_PART}")
        with self._said():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with file.open("rb") as source, part.open("xb") as target:
                    shutil.copyfileobj(source, target)
                    target.flush()
                    os.fsync(target.fileno())
                is_first = _link(part, place)
            finally:
                part.unlink(missing_ok=True)
            _sync(place.parent)
        return is_first

    def remove(self, name: str) -> None:
        with self._said():
            (self._root / name).unlink(missing_ok=True)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self._root / name

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self._root} cannot be written: {error.strerror or error}.") from error


def _link(part: Path, place: Path) -> bool:
    """Give a written file its name, unless somebody has given it to another."""
    try:
        os.link(part, place)
    except FileExistsError:
        return part.stat().st_nlink > 1  # over a network a request may come twice, and the first was this very one
    except OSError as error:  # a file system without links
        if error.errno not in _NO_LINKS:
            raise
        if place.exists():
            return False
        os.rename(part, place)  # of two at once the later stays, and both have the same frames
    return True


def _sync(folder: Path) -> None:
    """See that a new name is on the disk as well."""
    with suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ObjectStore:
    """An object store that fsspec knows. An object is there when it is uploaded; the second of a name is refused.

    Args:
        filesystem: of fsspec.
        root: of the clips in it.
        place: the whole address, for errors.
    """

    def __init__(self, filesystem: Any, root: str, place: str) -> None:
        self._filesystem, self._root, self._place = filesystem, root.rstrip("/"), place

    def prepare(self) -> None:
        with tempfile.NamedTemporaryFile() as probe:
            name = f".{uuid4().hex}{_PART}"
            self.put(Path(probe.name), name)
            is_replaced = self.put(Path(probe.name), name)
            self.remove(name)
        if is_replaced:
            raise StoreError(f"{self._place} puts a second file over the first of its name; give a folder, or S3.")

    def names(self, folder: str) -> Iterator[str]:
        with self._said():
            self._filesystem.invalidate_cache()
            # `ls` fails where nothing is yet, which `find` does not.
            found = self._filesystem.find(f"{self._root}/{folder}", maxdepth=1)
        for one in found:
            yield f"{folder}/{one.rpartition('/')[2]}"

    def has(self, name: str) -> bool:
        with self._said():
            self._filesystem.invalidate_cache()
            return bool(self._filesystem.exists(f"{self._root}/{name}"))

    def put(self, file: Path, name: str) -> bool:
        with self._said():
            try:
                self._filesystem.put_file(str(file), f"{self._root}/{name}", mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        with self._said(), suppress(FileNotFoundError):
            self._filesystem.rm_file(f"{self._root}/{name}")

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name.rpartition("/")[2]
            with self._said():
                self._filesystem.get_file(f"{self._root}/{name}", str(path))
            yield path

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every kind of store has errors of its own
            raise StoreError(
                f"{self._place} cannot be written or read: {str(error) or type(error).__name__}."
            ) from error
