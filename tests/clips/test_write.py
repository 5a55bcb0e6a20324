"""Clips to files: what goes into one comes out of it, and it is there wholly or not at all."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
from PIL import Image

from bytheway.clips.frames import Frames
from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.write import check_output, save_video
from bytheway.errors import ByTheWayError

FORMATS = ["clip.mp4", "clip.gif", "clip.webp", "clip"]
METADATA = {"prompt": 'ein Bär, 象, "é"', "seed": 3, "config": {"alpha": 0.6, "anchor_block": None}}


@pytest.mark.parametrize("name", FORMATS)
def test_round_trip(frames: Frames, tmp_path: Path, name: str) -> None:
    path = save_video(frames, tmp_path / name, fps=12.5, metadata=METADATA)
    loaded, fps = load_video(path)
    assert fps == 12.5
    assert loaded.shape == frames.shape
    assert loaded.dtype == np.uint8
    difference = np.abs(loaded.astype(int) - frames)
    if name == "clip":
        assert difference.max() == 0
    else:  # coarse colours at the edges of the square only
        assert np.median(difference) <= 1
        assert difference.mean() < 5
    digest = hashlib.sha256(frames.tobytes()).hexdigest()
    assert read_metadata(path) == {**METADATA, "num_frames": 16, "fps": 12.5, "frames_sha256": digest}


@pytest.mark.parametrize("name", FORMATS)
def test_colours_are_kept(tmp_path: Path, name: str) -> None:
    colours = np.array([(220, 20, 20), (20, 220, 20), (20, 20, 220), (230, 220, 30)], dtype=np.uint8)
    clip = np.broadcast_to(colours.repeat(16, axis=0)[None, None], (4, 32, 64, 3))
    loaded, _ = load_video(save_video(clip, tmp_path / name))
    seen = loaded[2, 16, 8::16].astype(int)
    np.testing.assert_allclose(seen, colours, atol=4)


def test_mp4_is_what_players_play(frames: Frames, tmp_path: Path) -> None:
    with av.open(str(save_video(frames, tmp_path / "clip.mp4", metadata=METADATA))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert json.loads(container.metadata["comment"])["seed"] == 3


def test_the_same_frames_make_the_same_mp4(frames: Frames, tmp_path: Path) -> None:
    """Also under load: x264 hands rows to threads as these come free, so that it uses one, as its own note says."""
    large = np.tile(frames, (1, 6, 8, 1))
    made = [save_video(large, tmp_path / f"{number}.mp4", 8, METADATA).read_bytes() for number in range(4)]
    assert len(set(made)) == 1
    assert b" threads=1 lookahead_threads=1 sliced_threads=0 " in made[0]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.webp"])
def test_a_file_of_somebody_else_is_kept(frames: Frames, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"somebody's")
    with pytest.raises(ByTheWayError, match=f"{name} exists and is no clip that bytheway made"):
        save_video(frames, path)
    assert path.read_bytes() == b"somebody's"
    assert read_metadata(save_video(frames, path, overwrite=True))["num_frames"] == 16


def test_overwriting_spares_folders(frames: Frames, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "thesis.tex").touch()
    with pytest.raises(ByTheWayError, match="is no folder of PNGs that bytheway wrote"):
        save_video(frames, tmp_path / "clip", overwrite=True)


def test_mp4_evens_odd_sides(frames: Frames, tmp_path: Path) -> None:
    loaded, _ = load_video(save_video(frames[:, :47, :63], tmp_path / "clip.mp4"))
    assert loaded.shape == (16, 48, 64, 3)
    np.testing.assert_allclose(loaded[0, 46, 5].astype(int), (60, 160, 60), atol=4)


@pytest.mark.parametrize("name", ["clip.gif", "clip.webp"])
@pytest.mark.parametrize("fps", [7.5, 8, 30])
def test_animations_keep_their_mean_rate(frames: Frames, tmp_path: Path, name: str, fps: float) -> None:
    with Image.open(save_video(frames, tmp_path / name, fps=fps)) as image:
        total = 0
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            total += image.info["duration"]
    assert total == pytest.approx(1000 * 16 / fps, abs=5)


@pytest.mark.parametrize("name", ["clip.gif", "clip.webp"])
@pytest.mark.parametrize("held", [slice(0, 16), slice(0, 3), slice(5, 9), slice(12, 16)])
def test_frames_that_stand_still_are_not_lost(frames: Frames, tmp_path: Path, name: str, held: slice) -> None:
    frames[held] = frames[held.start]
    loaded, fps = load_video(save_video(frames, tmp_path / name, fps=12))
    assert loaded.shape == frames.shape
    assert fps == 12
    assert np.abs(loaded.astype(int) - frames).mean() < 5


@pytest.mark.parametrize("name", FORMATS)
def test_an_interrupt_leaves_nothing(
    frames: Frames, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", Mock(side_effect=KeyboardInterrupt))
    for place in (tmp_path / name, tmp_path / "new" / "folders" / name):
        with pytest.raises(KeyboardInterrupt):
            save_video(frames, place)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_keeps_what_was_there(
    tmp_path: Path, name: str, nearly_full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    path = save_video(noise[:1], tmp_path / name, metadata={"seed": 1})
    with nearly_full_disk(10_000), pytest.raises(ByTheWayError, match=f"{name} cannot be written: "):
        save_video(noise, path, metadata={"seed": 2})
    assert read_metadata(path)["seed"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", FORMATS)
def test_writing_replaces(frames: Frames, tmp_path: Path, name: str) -> None:
    save_video(frames, tmp_path / "new" / name, metadata={"seed": 1})
    path = save_video(frames[:3], tmp_path / "new" / name, metadata={"seed": 2})
    assert read_metadata(path)["seed"] == 2
    assert len(load_video(path)[0]) == 3
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupt_between_two_folders_keeps_the_first(
    frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_video(frames, tmp_path / "clip", metadata={"seed": 1})
    replace, interrupts = os.replace, [KeyboardInterrupt]

    def interrupted(source: Path, target: Path) -> None:
        if target == path and interrupts:
            raise interrupts.pop()
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_video(frames[:3], path, metadata={"seed": 2})
    assert read_metadata(path)["seed"] == 1
    assert len(load_video(path)[0]) == 16
    assert list(tmp_path.iterdir()) == [path]


def test_every_png_carries_the_settings(frames: Frames, tmp_path: Path) -> None:
    folder = save_video(frames, tmp_path / "clip", metadata=METADATA)
    assert [file.name for file in sorted(folder.iterdir())][:2] == ["0000.png", "0001.png"]
    assert read_metadata(folder / "0007.png")["prompt"] == METADATA["prompt"]


def test_metadata_may_be_long(frames: Frames, tmp_path: Path) -> None:
    for name in FORMATS:
        path = save_video(frames[:2], tmp_path / name, metadata={"prompt": "very " * 3000})
        assert read_metadata(path)["prompt"] == "very " * 3000


@pytest.mark.parametrize(
    ("name", "fps", "said"),
    [
        ("clip.avi", 8, r"ends in \.avi: use \.mp4"),
        ("clip.gif", 60, "at most 50"),
        ("clip.webp", 0.001, r"must be from 0\.01 to 1000"),
        ("clip.mp4", 0, "must be from"),
        ("clip.mp4", float("nan"), "must be from"),
        ("file/clip.mp4", 8, "cannot be written: Not a directory"),
        ("folder.mp4", 8, "is a folder"),
        ("file", 8, "is no folder of PNGs"),
        ("full", 8, "is no folder of PNGs"),
        ("/proc/clip.mp4", 8, "cannot be written"),
    ],
)
def test_check_output_refuses(tmp_path: Path, name: str, fps: float, said: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ByTheWayError, match=said):
        check_output(tmp_path / name, fps)


@pytest.mark.parametrize(
    ("name", "longest"), [("a.mp4", 16384), ("a.gif", 16384), ("a.webp", 16383), ("folder", 16384)]
)
def test_the_longest_side(tmp_path: Path, name: str, longest: int) -> None:
    wide = np.zeros((2, 2, longest + 1, 3), dtype=np.uint8)
    assert load_video(save_video(wide[:, :, :-1], tmp_path / name))[0].shape == wide[:, :, :-1].shape
    with pytest.raises(ByTheWayError, match=f"{longest} at most on a side"):
        save_video(wide, tmp_path / name)


@pytest.mark.parametrize("name", FORMATS)
def test_the_most_pixels(tmp_path: Path, name: str) -> None:
    check_output(tmp_path / name, size=(8192, 8192))
    with pytest.raises(ByTheWayError, match="16000x8000 pixels; 67108864 in all are the most"):
        check_output(tmp_path / name, size=(16000, 8000))


@pytest.mark.parametrize("name", FORMATS)
def test_the_slowest_clip(frames: Frames, tmp_path: Path, name: str) -> None:
    loaded, fps = load_video(save_video(frames[:3], tmp_path / name, fps=0.01))
    assert (len(loaded), fps) == (3, 0.01)


@pytest.mark.parametrize("theirs", ["0000.png", "0001.png", "0003.png", "0000.jpg", "notes.txt", "album/0000.png"])
def test_what_others_put_into_a_folder_is_kept(frames: Frames, tmp_path: Path, theirs: str) -> None:
    folder = save_video(frames[:3], tmp_path / "clip")
    (folder / theirs).parent.mkdir(exist_ok=True)
    Image.fromarray(frames[0]).save(folder / theirs, format="png")
    if theirs == "0001.png":  # all of the folder are theirs
        for name in ("0000.png", "0002.png"):
            (folder / name).unlink()
    before = {file: file.stat().st_ino for file in folder.rglob("*")}
    with pytest.raises(ByTheWayError, match="is no folder of PNGs that bytheway wrote"):
        save_video(frames, folder)
    assert {file: file.stat().st_ino for file in folder.rglob("*")} == before


def test_the_folder_one_is_in_is_kept(frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("", ".", tmp_path):
        with pytest.raises(ByTheWayError, match="give a name for a new one in it"):
            save_video(frames, name)
    assert save_video(frames, "inside").is_dir()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("there", [False, True])
def test_links_stay_links(frames: Frames, tmp_path: Path, name: str, there: bool) -> None:
    target = tmp_path / "disk" / f"real-{name}"
    if there:
        save_video(frames[:3], target)
    link = tmp_path / name
    link.symlink_to(target)
    check_output(link)
    assert target.exists() == there
    assert save_video(frames, link) == link
    assert link.is_symlink()
    assert len(load_video(target)[0]) == 16


@pytest.mark.parametrize("name", [*FORMATS, "CLIP.MP4", "to/be/made/clip.gif"])
def test_check_output_allows_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    check_output(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
