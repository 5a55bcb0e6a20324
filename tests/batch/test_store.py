"""Stores: a name is given once, a file is there whole or not at all, and nothing depends on a clock."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bytheway.batch.store import FolderStore, ObjectStore, Store, StoreError, open_store

DAY = 24 * 60 * 60


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    place = str(tmp_path / "out") if request.param == "folder" else "memory://bucket/out"
    opened = open_store(place)
    assert isinstance(opened, FolderStore if request.param == "folder" else ObjectStore)
    yield opened
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / f"{text[:8]}.bin"
        path.write_text(text)
        return path

    return written


def test_a_name_is_given_once(store: Store, file: Callable[[str], Path]) -> None:
    store.prepare()
    assert list(store.names("arm")) == []
    assert not store.has("arm/a.mp4")
    assert store.put(file("first"), "arm/a.mp4")
    assert not store.put(file("second"), "arm/a.mp4")
    assert store.has("arm/a.mp4")
    assert list(store.names("arm")) == ["arm/a.mp4"]
    with store.local("arm/a.mp4") as path:
        assert path.read_text() == "first"
    store.remove("arm/a.mp4")
    store.remove("arm/a.mp4")
    assert list(store.names("arm")) == []


def test_a_look_leaves_nothing(store: Store) -> None:
    store.prepare()
    assert list(store.names("")) == []


def test_of_many_at_once_one_is_first_and_whole(tmp_path: Path, file: Callable[[str], Path]) -> None:
    store = open_store(str(tmp_path / "out"))
    files = [file(f"{number}" * 300_000) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        firsts = list(pool.map(lambda one: store.put(one, "arm/a.mp4"), files))
    assert firsts.count(True) == 1
    assert (tmp_path / "out/arm/a.mp4").read_text() == files[firsts.index(True)].read_text()
    assert [path.name for path in (tmp_path / "out/arm").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_it_does_without_links(
    tmp_path: Path, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    test_a_name_is_given_once(open_store(str(tmp_path / "out")), file)


def test_any_other_failure_of_a_link_is_said(
    tmp_path: Path, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename in its place might put a clip over that of another."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = open_store(str(tmp_path / "out"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", fail)
        with pytest.raises(StoreError, match="cannot be written: Input/output error"):
            store.put(file("first"), "arm/a.mp4")
    assert list((tmp_path / "out/arm").iterdir()) == []
    assert store.put(file("first"), "arm/a.mp4")


def test_a_link_that_was_made_though_it_was_refused_counts(
    tmp_path: Path, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS answers where its first answer was lost."""
    link = os.link

    def twice(*places: Path) -> None:
        link(*places)
        link(*places)

    monkeypatch.setattr(os, "link", twice)
    assert open_store(str(tmp_path / "out")).put(file("first"), "arm/a.mp4")


@pytest.mark.parametrize("skew", [-400 * DAY, 0, 400 * DAY])
def test_only_what_was_left_long_ago_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    """By the clock of the file system: this machine's may be wrong by a year."""
    arm = tmp_path / "out" / "arm"
    arm.mkdir(parents=True)
    now = time.time()
    for name, age in {".old.part": 2 * DAY, ".new.part": 60, ".other": 2 * DAY, "a.mp4": 2 * DAY}.items():
        (arm / name).write_text(name)
        os.utime(arm / name, (now - age, now - age))
    monkeypatch.setattr(time, "time", lambda: now + skew)
    open_store(str(tmp_path / "out")).prepare()
    assert sorted(path.name for path in arm.iterdir()) == [".new.part", ".other", "a.mp4"]


def test_what_is_being_written_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "arm").mkdir()
    (tmp_path / "arm" / ".a.0123.part").write_text("half")
    assert list(open_store(str(tmp_path)).names("arm")) == []


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, file: Callable[[str], Path], nearly_full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    store, clip = open_store(str(tmp_path / "out")), file("x" * 100_000)
    with nearly_full_disk(50_000), pytest.raises(StoreError, match="cannot be written: File too large"):
        store.put(clip, "arm/a.mp4")
    assert list((tmp_path / "out/arm").iterdir()) == []
    assert store.put(clip, "arm/a.mp4")


def test_a_folder_by_its_address_is_one(tmp_path: Path, file: Callable[[str], Path]) -> None:
    store = open_store(f"file://{tmp_path}/out")
    store.prepare()
    assert store.put(file("first"), "arm/a.mp4")
    assert not store.put(file("second"), "arm/a.mp4")
    assert (tmp_path / "out/arm/a.mp4").read_text() == "first"


def test_a_store_that_puts_one_over_the_other_is_refused() -> None:
    class Replacing(MemoryFileSystem):
        def put_file(self, lpath: str, rpath: str, mode: str = "create", **more: Any) -> None:
            super().put_file(lpath, rpath, mode="overwrite", **more)

    store = ObjectStore(Replacing(), "/bucket/replacing", "memory://bucket/replacing")
    with pytest.raises(StoreError, match="over the first"):
        store.prepare()
    assert list(store.names("")) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written: File exists"):
        open_store(str(tmp_path / "out")).prepare()
    with pytest.raises(StoreError, match="cannot be reached"):
        open_store("nowhere://bucket")
