"""Images and videos that clips start from: read, fitted, refused."""

import re
import struct
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from bytheway import ByTheWayError
from bytheway.clips.inputs import ImageInput, VideoInput, fit, read_image, read_video
from bytheway.clips.write import save_video


def image(width: int, height: int) -> Image.Image:
    """Red to the right, green downwards."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    return Image.fromarray(pixels)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    image(40, 20).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


@pytest.mark.parametrize(("suffix", "frame"), [("", 0), ("@0", 0), ("@12", 12), ("@-1", -1)])
def test_file_at_a_frame(file: Path, suffix: str, frame: int) -> None:
    read = read_image(f"{file}{suffix}")
    assert (read.frame, read.name, read.sketch) == (frame, str(file), False)
    assert (read.image.size, read.image.mode) == ((40, 20), "RGB")


def test_a_name_that_only_looks_like_a_frame(file: Path) -> None:
    odd = file.with_name("cat@2")
    file.rename(odd)
    assert read_image(str(odd)).frame == 0  # the file's format is told by its content
    assert read_image(f"{odd}@3").frame == 3


def test_an_image_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image(40, 20).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(str(tmp_path / "turned.jpg")).image.size == (20, 40)


@pytest.mark.parametrize(("frame", "index"), [(0, 0), (7, 7), (-1, 7), (-8, 0)])
def test_frames_count_from_either_end(frame: int, index: int) -> None:
    assert ImageInput(image(8, 8), "cat.png", frame).index(8) == index


@pytest.mark.parametrize("frame", [8, -9])
def test_a_frame_that_the_clip_does_not_have(frame: int) -> None:
    with pytest.raises(ByTheWayError, match=rf"cat.png is to be in frame {frame}, but the clip has the frames 0 to 7"):
        ImageInput(image(8, 8), "cat.png", frame).index(8)


def test_an_image_covers_the_frame_and_is_cut_in_the_middle() -> None:
    fitted = np.asarray(fit(image(400, 100), 64, 64))
    assert fitted.shape == (64, 64, 3)
    assert 90 < fitted[32, 0, 0] < 105  # of the red that runs from 0 to 255, the middle quarter
    assert 150 < fitted[32, -1, 0] < 165
    assert fitted[0, 32, 1] < 10
    assert fitted[-1, 32, 1] > 245
    same = image(64, 48)
    np.testing.assert_array_equal(fit(same, 64, 48), same)


def test_a_sketch_is_grey_from_black_to_white() -> None:
    faint = Image.fromarray(np.linspace(100, 140, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8))
    fitted = np.asarray(ImageInput(faint, "lines.png", sketch=True).fitted(32, 32))
    assert (fitted.min(), fitted.max()) == (0, 255)
    assert (fitted == fitted[..., :1]).all()


def test_a_video_gives_its_first_frames(tmp_path: Path) -> None:
    frames = np.stack([np.full((10, 20, 3), value, np.uint8) for value in (0, 100, 200)])
    save_video(frames, tmp_path / "in.gif", 5, {})
    video = read_video(tmp_path / "in.gif", 3)
    assert (len(video.frames), video.fps, video.name) == (3, 5, str(tmp_path / "in.gif"))
    assert video.whole
    assert video.reaching(99) is video
    first, second = video.fitted(2, 8, 8)
    assert first.size == second.size == (8, 8)
    assert np.asarray(second).mean() == pytest.approx(100, abs=3)
    with pytest.raises(ByTheWayError, match="has 3 frames; 4 cannot be made from it"):
        VideoInput(frames, 5, "in.gif").fitted(4, 8, 8)


def test_a_video_is_read_as_far_as_a_clip_needs(tmp_path: Path) -> None:
    """And one frame beyond, which tells whether there are more."""
    save_video(np.zeros((9, 8, 8, 3), np.uint8), tmp_path / "in", 5, {})
    video = read_video(tmp_path / "in")
    assert (len(video.frames), video.whole) == (2, False)
    assert video.reaching(1) is video
    for asked, there, whole in ((2, 3, False), (8, 9, False), (9, 9, True), (20, 9, True)):
        further = video.reaching(asked)
        assert (len(further.frames), further.fps, further.name, further.whole) == (there, 5, video.name, whole)
    with pytest.raises(ByTheWayError, match="has 9 frames; 20 cannot be made from it"):
        video.reaching(20).fitted(20, 8, 8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"DDS " + struct.pack("<20I4s10I", 124, 0, 8, 8, *[0] * 14, 32, 4, b"what", *[0] * 10),
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ByTheWayError, match=r"broken.png cannot be read as an image"):
        read_image(str(tmp_path / "broken.png"))


def test_an_image_with_damaged_facts(tmp_path: Path) -> None:
    image(8, 8).save(tmp_path / "odd.png", exif=b"II*\0\x08\0")
    with pytest.raises(ByTheWayError, match="cannot be read as an image"):
        read_image(str(tmp_path / "odd.png"))


def test_an_image_that_does_not_fit_the_memory_is_not_called_broken(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(8, 8).save(file)
    monkeypatch.setattr(Image.Image, "convert", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        read_image(str(file))


def test_an_image_cut_short(file: Path) -> None:
    image(400, 300).save(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ByTheWayError, match="cannot be read as an image"):
        read_image(str(file))


@pytest.mark.parametrize("text", ["nowhere.png", "nowhere.png@3"])
def test_no_such_image(text: str) -> None:
    with pytest.raises(ByTheWayError, match=re.escape("There is no image nowhere.png.")):
        read_image(text)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ByTheWayError, match="cannot be read as an image"):
        read_image(str(tmp_path))
