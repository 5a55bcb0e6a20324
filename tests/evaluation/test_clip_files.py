"""What files, folders and patterns name."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import ClipFile, find_clips

Save = Callable[..., Path]


def names(clips: list[ClipFile]) -> list[str]:
    return [clip.path.name for clip in clips]


def test_a_folder_stands_for_its_clips_in_natural_order(save: Save, tmp_path: Path) -> None:
    for name in ("out/10.mp4", "out/2.gif", "out/1.webp", "out/frames"):
        save(name)
    (tmp_path / "out/notes.txt").write_text("not a clip")
    (tmp_path / "out/.hidden.mp4").write_text("nor this")
    (tmp_path / "out/empty").mkdir()
    assert names(find_clips([tmp_path / "out"])) == ["1.webp", "2.gif", "10.mp4", "frames"]
    assert names(find_clips([tmp_path / "out/frames"])) == ["frames"], "pictures alone are one clip"


def test_files_and_patterns_are_found_once(save: Save, tmp_path: Path) -> None:
    save("out/a.mp4")
    save("out/deep/b.mp4")
    (tmp_path / "out/c.txt").write_text("a list")
    found = find_clips([tmp_path / "out/a.mp4", str(tmp_path / "out/*"), str(tmp_path / "out/**/*.mp4")])
    assert names(found) == ["a.mp4", "b.mp4"]
    odd = save("what [1].mp4")
    assert names(find_clips([odd])) == ["what [1].mp4"], "a file of this name is no pattern"
    os.chdir(tmp_path)
    assert names(find_clips(["out/?.mp4"])) == ["a.mp4"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("none.mp4", "There is no file none.mp4."),
        ("*.mp4", r"There is no file \*.mp4."),
        ("empty", "The folder empty holds no clips"),
        ("*.txt", r"\*.txt matches no clips, only a.txt and the like."),
    ],
)
def test_what_names_no_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("a.txt").touch()
    with pytest.raises(ByTheWayError, match=said):
        find_clips([place])
    with pytest.raises(ByTheWayError, match="No clips are named"):
        find_clips([])


def test_prompts_are_those_that_clips_carry_or_their_names(save: Save) -> None:
    folder = save("frames")
    pictures = folder.rename(folder.with_name("a cat. a dog-0"))
    carried, bare, folder_of_pictures = find_clips(
        [save("a cat-3.mp4", prompt="a dog", seed=5), save("a well-known cat-12.gif"), pictures]
    )
    assert (carried.prompt, carried.made_from) == ("a dog", ("a dog", 5))
    assert (bare.prompt, bare.made_from) == ("a well-known cat", None)
    assert folder_of_pictures.prompt == "a cat. a dog", "a folder's name has no ending"


def test_a_damaged_clip_is_still_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"nothing")
    assert find_clips([path]) == [ClipFile(path)]
