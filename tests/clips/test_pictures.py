"""Pictures of every kind of value become the bytes that they mean."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bytheway.clips.inputs import read_image
from bytheway.clips.read import load_video
from bytheway.errors import ByTheWayError

RAMP = np.linspace(0, 255, 8).round().astype(np.uint8)[None].repeat(4, 0)  # what each of the kinds below means
KINDS = {
    "8.png": RAMP,
    "16.png": RAMP.astype(np.uint16) * 257,
    "16.tif": RAMP.astype(np.uint16) * 257,
    "float.tif": RAMP.astype(np.float32) / 255,
}


def pgm(values: NDArray[np.uint16]) -> bytes:
    return b"P5 %d %d 65535\n" % values.shape[::-1] + values.astype(">u2").tobytes()


def tiff(values: NDArray[np.integer], sample_format: int) -> bytes:
    """A TIFF that Pillow does not write: 1 is unsigned, 2 is signed."""
    height, width = values.shape
    short, long = 3, 4
    entries = [
        (256, long, width),
        (257, long, height),
        (258, short, 8 * values.itemsize),
        (259, short, 1),
        (262, short, 1),
        (273, long, 8 + 2 + 12 * 10 + 4),
        (277, short, 1),
        (278, long, height),
        (279, long, values.nbytes),
        (339, short, sample_format),
    ]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + values.tobytes()


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_of_any_depth(tmp_path: Path, name: str) -> None:
    Image.fromarray(KINDS[name]).save(tmp_path / name)
    read = np.asarray(read_image(str(tmp_path / name)).image)
    np.testing.assert_array_equal(read, RAMP[..., None].repeat(3, -1))


def test_a_netpbm_of_16_bits(tmp_path: Path) -> None:
    (tmp_path / "16.pgm").write_bytes(pgm(RAMP.astype(np.uint16) * 257))
    np.testing.assert_array_equal(np.asarray(read_image(str(tmp_path / "16.pgm")).image)[..., 0], RAMP)


def test_16_bits_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 128, 129, 65406, 65407, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(read_image(str(tmp_path / "a.png")).image)[0, :, 0].tolist() == [0, 0, 1, 254, 255, 255]


def test_a_picture_of_16_bits_is_turned_as_well(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(KINDS["16.png"]).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(str(tmp_path / "a.png")).image)[..., 0], np.rot90(RAMP, -1))


@pytest.mark.parametrize("kind", ["16.png", "float.tif"])
def test_a_folder_of_any_depth(tmp_path: Path, kind: str) -> None:
    for index in range(3):
        Image.fromarray(np.roll(KINDS[kind], index, 1)).save(tmp_path / f"{index}{Path(kind).suffix}")
    frames, _ = load_video(tmp_path)
    expected = np.stack([np.roll(RAMP, index, 1) for index in range(3)])
    np.testing.assert_array_equal(frames, expected[..., None].repeat(3, -1))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[0.0, 5.5]], r"holds floats from 0 to 5.5; scale them to 0 \(black\) to 1 \(white\)"),
        ([[-0.25, 1.0]], "holds floats from -0.25 to 1"),
        ([[0.0, np.nan]], "no finite numbers"),
        ([[0.0, np.inf]], "no finite numbers"),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_floats_of_an_unknown_range(tmp_path: Path, values: list[list[float]], said: str, folder: bool) -> None:
    Image.fromarray(np.array(values, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ByTheWayError, match=said):
        load_video(tmp_path) if folder else read_image(str(tmp_path / "a.tif"))


@pytest.mark.parametrize(("dtype", "sample_format"), [(np.int16, 2), (np.int32, 2), (np.uint32, 1)])
def test_integers_of_an_unknown_range(tmp_path: Path, dtype: type[np.integer], sample_format: int) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(np.array([[0, 300]], dtype), sample_format))
    with pytest.raises(ByTheWayError, match="integers of 32 bits or with a sign; save it with 8 or 16 bits"):
        read_image(str(tmp_path / "a.tif"))


def transparent(kind: str) -> Image.Image:
    """Two pixels: one that cannot be seen and whose colour is black, and one of a grey of 100."""
    grey = Image.fromarray(np.array([[0, 100]], np.uint8))
    if kind in ("RGBA", "LA"):
        image = grey.convert(kind)
        image.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
        return image
    return grey.convert("P") if kind == "P" else grey


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "L", "16"])
@pytest.mark.parametrize("folder", [False, True])
def test_what_is_transparent_is_white_and_that_is_said(tmp_path: Path, kind: str, folder: bool) -> None:
    image = Image.fromarray(np.array([[0, 100 * 257]], np.uint16)) if kind == "16" else transparent(kind)
    image.save(tmp_path / "a.png", **({} if kind in ("RGBA", "LA") else {"transparency": 0}))
    with pytest.warns(UserWarning, match=r"is transparent in places; it is laid on white."):
        read = load_video(tmp_path)[0][0] if folder else np.asarray(read_image(str(tmp_path / "a.png")).image)
    assert read.tolist() == [[[255] * 3, [100] * 3]]


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (200, 0, 100, 51)).save(tmp_path / "a.png")  # a fifth of the colour
    with pytest.warns(UserWarning, match="laid on white"):
        read = read_image(str(tmp_path / "a.png")).image
    np.testing.assert_allclose(read.getpixel((0, 0)), (244, 204, 224), atol=1)


def test_an_alpha_channel_that_hides_nothing_needs_no_words(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (200, 0, 100, 255)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(str(tmp_path / "a.png")).image.getpixel((1, 1)) == (200, 0, 100)
