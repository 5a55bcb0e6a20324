"""What a clip starts from beside its prompt: images in frames of their own, or a video.

Importing this does not import torch: files are read before anybody waits for a model.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from bytheway.clips.frames import Frames
from bytheway.clips.pictures import to_rgb
from bytheway.clips.read import load_video
from bytheway.errors import ByTheWayError

_FILE_AT_FRAME = re.compile(r"(.+)@(-?\d+)")


@dataclass(frozen=True, eq=False)
class ImageInput:
    """An image that the clip shows, or follows, in one of its frames.

    Attributes:
        image: RGB, of any size.
        name: of its file.
        frame: counted from 0; -1 is the last one, -2 the one before.
        sketch: lines to follow rather than a picture to show.
    """

    image: Image.Image
    name: str
    frame: int = 0
    sketch: bool = False

    def index(self, num_frames: int) -> int:
        """The frame's number in a clip of so many frames, counted from 0.

        Raises:
            ByTheWayError: the clip has no such frame.
        """
        if not -num_frames <= self.frame < num_frames:
            raise ByTheWayError(
                f"{self.name} is to be in frame {self.frame}, but the clip has the frames 0 to {num_frames - 1}."
            )
        return self.frame % num_frames

    def fitted(self, width: int, height: int) -> Image.Image:
        """The image at that size in pixels, as in `fit`; a sketch in grey, from black to white.

        SparseCtrl's authors bring sketches to the full range too (`image_norm` of their `scripts/animate.py`).
        """
        image = fit(self.image, width, height)
        return ImageOps.autocontrast(image.convert("L")).convert("RGB") if self.sketch else image


@dataclass(frozen=True, eq=False)
class VideoInput:
    """A video that clips are made from.

    Attributes:
        frames: all of them, or as many as were read so far.
        fps: how many are shown in a second.
        name: of its file.
        whole: whether these are all of them.
    """

    frames: Frames
    fps: float
    name: str
    whole: bool = True

    def reaching(self, num_frames: int) -> VideoInput:
        """The video read so far that a clip of so many frames can be made from it, or to its end.

        Raises:
            ByTheWayError: the file is damaged there.
        """
        return self if self.whole or num_frames < len(self.frames) else read_video(self.name, num_frames)

    def fitted(self, num_frames: int, width: int, height: int) -> list[Image.Image]:
        """The first frames at that size in pixels, as in `fit`.

        Raises:
            ByTheWayError: the video is shorter.
        """
        if num_frames > len(self.frames):
            raise ByTheWayError(f"{self.name} has {len(self.frames)} frames; {num_frames} cannot be made from it.")
        return [fit(Image.fromarray(frame), width, height) for frame in self.frames[:num_frames]]


def read_image(text: str, *, sketch: bool = False) -> ImageInput:
    """The image of `FILE` or `FILE@FRAME`, see `ImageInput`; other kinds of values as in `pictures.to_rgb`.

    Raises:
        ByTheWayError: there is no such file, or it holds no image, or values of which none can be made.
    """
    file, frame = image_place(text)
    try:
        with Image.open(file) as opened:
            ImageOps.exif_transpose(opened, in_place=True)
            image = to_rgb(opened, file)
    except (ByTheWayError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers answer broken files with whatever they stumble over
        raise ByTheWayError(f"{Path(file)} cannot be read as an image; give a PNG, JPEG or WebP file.") from error
    return ImageInput(image, file, frame, sketch)


def image_place(text: str) -> tuple[str, int]:
    """The file of `FILE` or `FILE@FRAME`, and the frame that its image is for.

    Raises:
        ByTheWayError: there is no such file.
    """
    match = None if Path(text).exists() else _FILE_AT_FRAME.fullmatch(text)
    file, frame = (match[1], int(match[2])) if match else (text, 0)
    if not Path(file).exists():
        raise ByTheWayError(f"There is no image {file}.")
    return file, frame


def read_video(path: str | os.PathLike[str], num_frames: int = 1) -> VideoInput:
    """A video in any format that `bytheway.clips.load_video` reads.

    Args:
        num_frames: how many frames a clip of it is to have; one more is read, which tells whether there are more.

    Raises:
        ByTheWayError: there is no such file, or it holds no video.
    """
    frames, fps = load_video(path, num_frames + 1)
    return VideoInput(frames, fps, str(path), whole=len(frames) <= num_frames)


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """The image, scaled to cover that size in pixels, and what juts out on two sides cut off equally."""
    return ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)
