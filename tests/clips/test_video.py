"""Clips in and out: what goes into a file comes out of it, wholly or not at all."""

import json
import os
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bytheway.clips import write
from bytheway.clips.frames import Frames, as_frames
from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.write import check_output, save_video
from bytheway.errors import ByTheWayError

FORMATS = ["clip.mp4", "clip.gif", "clip.webp", "clip"]
METADATA = {"prompt": 'ein Bär, 象, "é"', "seed": 3, "config": {"alpha": 0.6, "anchor_block": None}}
CLIPS = Path(__file__).parents[3] / "shared" / "clips"


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
    assert read_metadata(path) == {**METADATA, "num_frames": 16, "fps": 12.5}


@pytest.mark.parametrize("name", FORMATS)
def test_only_the_frames_asked_for_are_read(frames: Frames, tmp_path: Path, name: str) -> None:
    frames[1:4] = frames[1]  # GIF and WebP store one of them
    path = save_video(frames, tmp_path / name, fps=12.5)
    whole, fps = load_video(path)
    for count in (1, 3, 16, 99):
        first, rate = load_video(path, count)
        np.testing.assert_array_equal(first, whole[:count])
        assert rate == fps


@pytest.mark.parametrize("name", FORMATS)
def test_a_long_video_is_not_held_in_memory(tmp_path: Path, name: str) -> None:
    """Of 24 frames that are read for their first two, no more than a few are there at once, and WebP's file itself."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 256, 256, 3), dtype=np.uint8)
    path = save_video(noise, tmp_path / name)
    load_video(path, 2)
    tracemalloc.start()
    load_video(path, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * noise[0].nbytes


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


def test_a_clip_that_was_filmed_upright_is_upright(frames: Frames, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    save_video(frames, path)
    lying = load_video(path)[0]
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # what players do to the pictures: a quarter turn to the right
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert np.array_equal(load_video(path)[0], np.rot90(lying, -1, axes=(1, 2)))


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


def test_foreign_gif_counts_long_frames_as_often_as_shown(tmp_path: Path) -> None:
    stills = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 80, 160, 240)]
    stills[0].save(tmp_path / "a.gif", save_all=True, append_images=stills[1:], duration=[100, 100, 300, 100])
    loaded, fps = load_video(tmp_path / "a.gif")
    assert [int(frame[0, 0, 0]) for frame in loaded] == [0, 80, 160, 160, 160, 240]
    assert fps == 10


@pytest.mark.parametrize("name", FORMATS)
def test_a_failure_leaves_nothing(frames: Frames, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    write_clip = write._WRITERS[path.suffix]

    def fail(clip: Frames, fresh: Path, fps: float, comment: str) -> None:
        write_clip(clip, fresh, fps, comment)
        raise KeyboardInterrupt

    monkeypatch.setitem(write._WRITERS, path.suffix, fail)
    for place in (path, tmp_path / "new" / "folders" / name):
        with pytest.raises(KeyboardInterrupt):
            save_video(frames, place)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_failure_keeps_what_was_there(
    frames: Frames, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_video(frames, tmp_path / name, metadata={"seed": 1})

    def fail(clip: Frames, fresh: Path, fps: float, comment: str) -> None:
        raise MemoryError

    monkeypatch.setitem(write._WRITERS, path.suffix, fail)
    with pytest.raises(MemoryError):
        save_video(frames, path, metadata={"seed": 2})
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


def test_as_frames_reads_what_pipelines_return(frames: Frames) -> None:
    floats = frames / np.float32(255)
    for clip in (
        frames,
        floats,
        list(frames),
        [Image.fromarray(frame) for frame in frames],
        [Image.fromarray(frame).convert("RGBA") for frame in frames],
        torch.tensor(frames),
        torch.tensor(floats).movedim(-1, 1),
    ):
        np.testing.assert_array_equal(as_frames(clip), frames)
    half = as_frames(torch.tensor(floats).movedim(-1, 1).bfloat16())
    assert np.abs(half.astype(int) - frames).max() <= 1


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (np.zeros((4, 8, 8)), "shape"),
        (np.zeros((0, 8, 8, 3)), "shape"),
        (np.full((2, 8, 8, 3), np.nan), "not numbers"),
    ],
)
def test_as_frames_refuses(clip: np.ndarray, said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        as_frames(clip)


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


@pytest.mark.parametrize(("name", "longest"), [("a.mp4", 16384), ("a.gif", 65535), ("a.webp", 16383)])
def test_the_longest_side(tmp_path: Path, name: str, longest: int) -> None:
    wide = np.zeros((2, 2, longest + 1, 3), dtype=np.uint8)
    assert load_video(save_video(wide[:, :, :-1], tmp_path / name))[0].shape == wide[:, :, :-1].shape
    with pytest.raises(ByTheWayError, match=f"{longest} at most on a side"):
        save_video(wide, tmp_path / name)


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


def test_reading_refuses(frames: Frames, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("text.mp4", "text.gif", "text.png"):
        (tmp_path / name).write_text("no clip at all")
        for read in (load_video, read_metadata):
            with pytest.raises(ByTheWayError, match="is not a video"):
                read(tmp_path / name)
    for read in (load_video, read_metadata):
        with pytest.raises(ByTheWayError, match="holds no PNGs"):
            read(tmp_path / "empty")
        with pytest.raises(ByTheWayError, match="There is no file"):
            read(tmp_path / "nowhere.mp4")
    Image.fromarray(frames[0]).save(tmp_path / "plain.gif", comment=b"made by hand")
    with pytest.raises(ByTheWayError, match="carries no settings"):
        read_metadata(tmp_path / "plain.gif")
    assert load_video(tmp_path / "plain.gif")[0].shape == (1, 48, 64, 3)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.webp", "clip"])
def test_a_damaged_clip(frames: Frames, tmp_path: Path, name: str) -> None:
    """Cut short after its beginning, which still tells what it is."""
    frames = np.random.default_rng(0).integers(0, 256, frames.shape, dtype=np.uint8)  # nothing that packs small
    path = save_video(frames, tmp_path / name)
    file = path / "0007.png" if path.is_dir() else path
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ByTheWayError, match=r"is damaged or cut short|is not a video"):
        load_video(path)


def test_pictures_of_different_sizes_are_no_clip(frames: Frames, tmp_path: Path) -> None:
    path = save_video(frames, tmp_path / "clip")
    Image.fromarray(frames[0, :10]).save(path / "0003.png")
    with pytest.raises(ByTheWayError, match="are of different sizes"):
        load_video(path)


def _png(width: int, height: int) -> bytes:
    """A picture that only says how large it is."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize("read", [load_video, read_metadata])
def test_a_picture_that_would_fill_the_memory(tmp_path: Path, read: Any) -> None:
    (tmp_path / "0000.png").write_bytes(_png(2**30, 2**30))
    with pytest.raises(ByTheWayError, match="is not a video"):
        read(tmp_path)


@pytest.mark.parametrize("comment", ["9" * 5000, '{"seed": ' + "9" * 5000 + "}", "[" * 100_000, "[1]", "\x00"])
def test_a_comment_that_is_no_settings(frames: Frames, tmp_path: Path, comment: str) -> None:
    Image.fromarray(frames[0]).save(tmp_path / "a.gif", comment=comment.encode())
    assert load_video(tmp_path / "a.gif")[0].shape == (1, 48, 64, 3)
    with pytest.raises(ByTheWayError, match="carries no settings"):
        read_metadata(tmp_path / "a.gif")


@pytest.mark.parametrize("fps", [0, -3, "fast", 10**9, None])
def test_a_frame_rate_that_cannot_be_is_not_believed(frames: Frames, tmp_path: Path, fps: Any) -> None:
    (tmp_path / "clip").mkdir()
    text = PngInfo()
    text.add_text("Comment", json.dumps({"fps": fps}))
    comment = json.dumps({"fps": fps, "num_frames": 0}).encode()
    Image.fromarray(frames[0]).save(tmp_path / "clip" / "0000.png", pnginfo=text)
    Image.fromarray(frames[0]).save(tmp_path / "clip.gif", comment=comment, duration=100)
    assert load_video(tmp_path / "clip")[1] == 8
    loaded, seen = load_video(tmp_path / "clip.gif")
    assert (len(loaded), seen) == (1, 10)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the sample clips are not here")
@pytest.mark.parametrize(
    ("name", "shape", "fps"),
    [("vc_t2v_duck.gif", (16, 320, 512, 3), 10), ("ad_model_06_03.gif", (48, 256, 256, 3), 23.1)],
)
def test_clips_of_real_models(name: str, shape: tuple[int, ...], fps: float) -> None:
    loaded, seen = load_video(CLIPS / name)
    assert loaded.shape == shape
    assert seen == pytest.approx(fps, abs=0.1)


def test_a_remark_in_another_encoding_is_no_obstacle(frames: Frames, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        container.metadata["comment"] = "caf.!"
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height = 64, 48
        for picture in frames[:2]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    remark = path.read_bytes()
    assert b"caf.!" in remark
    path.write_bytes(remark.replace(b"caf.!", "café!".encode("latin-1")))
    assert len(load_video(path)[0]) == 2
    with pytest.raises(ByTheWayError, match="carries no settings"):
        read_metadata(path)
