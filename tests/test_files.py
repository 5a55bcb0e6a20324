"""Files and folders are written wholly or not at all."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import Mock

import pytest

from bytheway.errors import ByTheWayError
from bytheway.files import check_file, check_vacant, check_writable, write_text, written


def write_folder(folder: Path, text: str = "new", error: type[BaseException] | None = None) -> None:
    folder.mkdir()
    (folder / "a.txt").write_text(text)
    if error:
        raise error("said")


def contents(folder: Path) -> dict[str, str]:
    """The texts of all files, by their paths; of folders, links included, nothing."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a.txt"
    write_text(path, "grüße")
    assert path.read_bytes() == "grüße".encode()
    assert [found.name for found in tmp_path.rglob("*")] == ["new", "folders", "a.txt"]


def test_a_draft_is_beside_its_place_has_its_ending_and_is_seen_by_nobody_before(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_text("old")
    with written(path) as draft:
        assert draft.suffix == ".npz"
        assert tmp_path in draft.parents
        draft.write_text("new")
        assert path.read_text() == "old"
        with written(path) as another:
            assert another != draft
            another.write_text("newer")
        assert path.read_text() == "newer"
    assert contents(tmp_path) == {"a.npz": "new"}


def test_a_file_is_as_readable_as_one_that_is_simply_written(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").touch()
    (tmp_path / "plain").mkdir()
    write_text(tmp_path / "a.txt", "")
    with written(tmp_path / "folder") as draft:
        draft.mkdir()
    for ours, plain in (("a.txt", "plain.txt"), ("folder", "plain")):
        assert (tmp_path / ours).stat().st_mode == (tmp_path / plain).stat().st_mode


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_takes_the_place_of_one_with_all_it_holds(tmp_path: Path, there: bool) -> None:
    if there:
        write_folder(tmp_path / "out", "old")
        (tmp_path / "out" / "b.txt").touch()
    with written(tmp_path / "out") as draft:
        write_folder(draft)
    assert contents(tmp_path) == {"out/a.txt": "new"}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ByTheWayError])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, there: bool, error: type[BaseException]) -> None:
    if there:
        write_folder(tmp_path / "out", "old")
    before = contents(tmp_path)
    for path in (tmp_path / "out", tmp_path / "new" / "folders" / "out", tmp_path / "a.txt"):
        with pytest.raises(error), written(path) as draft:
            write_folder(draft, error=error)
        assert contents(tmp_path) == before
        assert len(list(tmp_path.iterdir())) == there


def test_a_full_disk_is_a_sentence_and_changes_nothing(
    tmp_path: Path, nearly_full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    write_text(tmp_path / "a.txt", "old")
    with nearly_full_disk(1000), pytest.raises(ByTheWayError) as caught:
        write_text(tmp_path / "a.txt", "new" * 1000)
    assert str(caught.value) == f"{tmp_path / 'a.txt'} cannot be written: File too large."
    with nearly_full_disk(1000), pytest.raises(ByTheWayError), written(tmp_path / "new" / "out") as draft:
        write_folder(draft, "new" * 1000)
    assert contents(tmp_path) == {"a.txt": "old"}
    assert len(list(tmp_path.iterdir())) == 1


def fail_at(monkeypatch: pytest.MonkeyPatch, *numbers: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Of the moves that follow, those of these numbers, from 0, fail."""
    move, done = os.replace, Mock(side_effect=range(99))

    def replace(source: Path, target: Path) -> None:
        if done() in numbers:
            raise error
        move(source, target)

    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize("number", [0, 1])
def test_an_interrupt_between_two_folders_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write_folder(tmp_path / "out", "old")
    fail_at(monkeypatch, number)
    with pytest.raises(KeyboardInterrupt), written(tmp_path / "out") as draft:
        write_folder(draft)
    assert contents(tmp_path) == {"out/a.txt": "old"}
    assert len(list(tmp_path.iterdir())) == 1


def test_the_only_copy_of_what_was_there_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even the first move can be undone."""
    write_folder(tmp_path / "out", "old")
    fail_at(monkeypatch, 1, 2)
    with pytest.raises(KeyboardInterrupt), written(tmp_path / "out") as draft:
        write_folder(draft)
    monkeypatch.undo()
    assert "old" in contents(tmp_path).values()
    (scratch,) = tmp_path.iterdir()
    os.utime(scratch, (0, 0))
    write_text(tmp_path / "a.txt", "new")
    assert "old" in contents(tmp_path).values()


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("write", [write_folder, Path.touch])
def test_links_stay_links(tmp_path: Path, there: bool, write: Mock) -> None:
    disk, link = tmp_path / "disk" / "real", tmp_path / "link"
    link.symlink_to(disk)
    if there:
        disk.parent.mkdir()
        write(disk)
    for _ in range(2):
        with written(link) as draft:
            write(draft)
        assert link.is_symlink()
        assert disk.is_dir() == (write is write_folder)
        assert disk.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file/a.txt", "Not a directory"),
        ("file/new/a.txt", "Not a directory"),
        ("folder", "Is a directory"),
        ("/proc/a.txt", ""),
    ],
)
def test_a_place_that_is_none_is_a_sentence_that_names_it(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ByTheWayError, match=f"^{tmp_path / name} cannot be written: {said}.*"):
        write_text(tmp_path / name, "text")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_a_file_stays_where_a_folder_is_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    with (
        pytest.raises(ByTheWayError, match="out cannot be written: Not a directory"),
        written(tmp_path / "out") as draft,
    ):
        write_folder(draft)
    assert contents(tmp_path) == {"out": "old"}


def drafts_folder(beside: Path) -> str:
    """The name of a folder in which a draft lay."""
    with written(beside / "a.txt") as draft:
        draft.touch()
    (beside / "a.txt").unlink()
    return draft.parent.name


def test_what_a_kill_leaves_goes_with_the_next_write_of_another_day(tmp_path: Path) -> None:
    """Whatever else is there stays: what is younger, and what is not ours by its name."""

    old, young, theirs = (
        tmp_path / name for name in (drafts_folder(tmp_path), drafts_folder(tmp_path), ".bytheway-notes")
    )
    link = tmp_path / f"{old.name}-link"
    link.symlink_to(theirs)
    for folder, hours in ((old, 25), (young, 23), (theirs, 99)):
        folder.mkdir()
        (folder / "draft.txt").write_text("half")
        os.utime(folder, (time.time() - 3600 * hours,) * 2)
    write_text(tmp_path / "b.txt", "")
    assert {path.name for path in tmp_path.iterdir()} == {young.name, theirs.name, link.name, "b.txt"}


def test_checks_say_what_is_there_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    (tmp_path / "empty").mkdir()
    before = set(tmp_path.rglob("*"))
    for name in ("file", "empty/a.txt", "new/folders/a.txt"):
        check_file(tmp_path / name)
    check_writable(tmp_path / "full")
    for name in ("empty", "new"):
        check_vacant(tmp_path / name)
    with pytest.raises(ByTheWayError, match="full is a folder: choose another name"):
        check_file(tmp_path / "full")
    for name in ("file", "full"):
        with pytest.raises(ByTheWayError, match="is there already and is not replaced"):
            check_vacant(tmp_path / name)
    for check in (check_file, check_writable):
        with pytest.raises(ByTheWayError, match=r"file/a\.txt cannot be written: Not a directory"):
            check(tmp_path / "file" / "a.txt")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["x" * 300 + ".json", "x" * 300 + "/a.json"])
def test_a_name_that_is_too_long_is_a_sentence_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    for put in (lambda path: write_text(path, "new"), check_file, check_writable):
        with pytest.raises(ByTheWayError, match="cannot be written: File name too long"):
            put(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_there_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".json")
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_working_folder_that_is_gone_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for put in (lambda path: write_text(path, "new"), check_file, check_writable):
        with pytest.raises(ByTheWayError, match=r"a\.json cannot be written: No such file or directory"):
            put(Path("a.json"))
