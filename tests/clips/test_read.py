"""Clips from files: our own, other people's, damaged ones."""

import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bytheway.clips.frames import IMAGE_DESCRIPTION, Frames
from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError

FORMATS = ["clip.mp4", "clip.gif", "clip.webp", "clip"]
CLIPS = Path(__file__).parents[3] / "shared" / "clips"


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


def test_a_clip_that_was_filmed_upright_is_upright(frames: Frames, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    save_video(frames, path)
    lying = load_video(path)[0]
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # what players do to the pictures: a quarter turn to the right
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert np.array_equal(load_video(path)[0], np.rot90(lying, -1, axes=(1, 2)))


def test_foreign_gif_counts_long_frames_as_often_as_shown(tmp_path: Path) -> None:
    stills = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 80, 160, 240)]
    stills[0].save(tmp_path / "a.gif", save_all=True, append_images=stills[1:], duration=[100, 100, 300, 100])
    loaded, fps = load_video(tmp_path / "a.gif")
    assert [int(frame[0, 0, 0]) for frame in loaded] == [0, 80, 160, 160, 160, 240]
    assert fps == 10


def test_reading_refuses(frames: Frames, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("text.mp4", "text.gif", "text.png"):
        (tmp_path / name).write_text("no clip at all")
        for read in (load_video, read_metadata):
            with pytest.raises(ByTheWayError, match="is not a video"):
                read(tmp_path / name)
    for read in (load_video, read_metadata):
        with pytest.raises(ByTheWayError, match="holds no pictures"):
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


@pytest.mark.parametrize(
    "names",
    [
        [f"{index}.png" for index in range(12)],
        [f"{index}.PNG" for index in range(12)],
        [f"frame {index}.jpg" for index in range(12)],
        ["a1b9.jpeg", "a1b10.JPG", "a1b11.jpg", "a2b1.jpeg", "a10b0.jpg"],
        ["07.tif", "8.tiff", "009.TIF", "10.tif"],
        ["1.png", "01.png", "2.png"],
    ],
)
def test_frames_in_a_folder_are_in_natural_order(tmp_path: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        Image.new("RGB", (8, 8), (20 * index,) * 3).save(tmp_path / name)
    (tmp_path / "._0.png").write_bytes(b"what a Mac leaves on other people's disks")
    (tmp_path / "notes.txt").touch()
    expected = [20 * index for index in range(len(names))]
    if names[:2] == ["1.png", "01.png"]:  # equal numbers: by name
        expected[:2] = [20, 0]
    frames, fps = load_video(tmp_path)
    assert [int(frame[4, 4, 1]) for frame in frames] == expected
    assert fps == 8
    assert [int(frame[4, 4, 1]) for frame in load_video(tmp_path, 2)[0]] == expected[:2]


def test_pictures_of_several_kinds_are_no_clip(tmp_path: Path) -> None:
    for name in ("0.png", "1.png", "cover.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(ByTheWayError, match="holds pictures of several kinds"):
        load_video(tmp_path)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("first", [True, False])
def test_a_cover_is_not_the_video(frames: Frames, tmp_path: Path, ending: str, first: bool) -> None:
    path = tmp_path / f"film.{ending}"
    cover = np.full((1, 96, 96, 3), 255, np.uint8)
    parts = [(frames, "mpeg4", "yuv420p"), (cover, "mjpeg", "yuvj420p")]
    with av.open(str(path), "w") as container:
        streams = []
        for clip, codec, pixels in reversed(parts) if first else parts:
            stream = container.add_stream(codec, rate=8)
            stream.height, stream.width = clip.shape[1:3]
            stream.pix_fmt = pixels
            streams.append((stream, clip))
        for stream, clip in streams:
            for picture in clip:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))))
            container.mux(stream.encode(None))
    loaded, fps = load_video(path)
    assert (loaded.shape, fps) == (frames.shape, 8)
    assert np.abs(loaded.astype(int) - frames).mean() < 8
    assert load_video(path, 3)[0].shape == (3, *frames.shape[1:])


@pytest.mark.parametrize("claim", ["settings", "duration"])
def test_a_few_bytes_that_claim_to_be_a_thousand_million_frames(tmp_path: Path, claim: str) -> None:
    """A picture of one pixel, said to be held for all of them; a clip of a few of them can be made all the same."""
    exif = Image.Exif()
    path = tmp_path / "a.webp"
    exif[IMAGE_DESCRIPTION] = json.dumps({"num_frames": 10**9} if claim == "settings" else {"fps": 1000.0})
    one, two = (Image.new("RGB", (1, 1), colour) for colour in ("black", "white"))
    if claim == "settings":
        one.save(path, exif=exif)
    else:
        one.save(path, save_all=True, append_images=[two], duration=[2**24 - 1, 1], exif=exif)
    assert path.stat().st_size < 400
    tracemalloc.start()
    with pytest.raises(ByTheWayError, match=r"a.webp claims to show \d{8,} frames, too many to be read"):
        load_video(path)
    with pytest.raises(ByTheWayError, match="too many to be read"):
        load_video(path, 10**8)
    frames, _ = load_video(path, 5)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    assert (frames == np.zeros((5, 1, 1, 3))).all()


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
