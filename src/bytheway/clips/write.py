"""Clips to files: mp4, GIF, WebP and folders of PNGs, each carrying its settings.

Settings are a JSON object kept in the place where each format has its comment (mp4 and GIF: comment; WebP: the EXIF
image description; PNG: the text chunk "Comment" of every frame), so `ffprobe`, `exiftool` and the like show them too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bytheway.clips.frames import FASTEST, IMAGE_DESCRIPTION, SLOWEST, Frames, as_frames
from bytheway.clips.read import read_metadata
from bytheway.errors import ByTheWayError
from bytheway.files import check_file, check_writable, written

FASTEST_GIF: Final = 50.0  # frames a second; browsers slow anything faster down to 10
LONGEST_SIDE: Final = {".mp4": 16384, ".gif": 16384, ".webp": 16383, "": 16384}  # pixels; x264's limit and WebP's
MOST_PIXELS: Final = 2**26  # of a frame: 8192x8192, twice what is called 8K


def save_video(
    frames: Any,
    path: str | os.PathLike[str],
    fps: float = 8.0,
    metadata: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a clip, in the format its ending says: .mp4, .gif, .webp, or a folder of PNGs without one.

    `frames`: whatever `as_frames` takes. `metadata`: anything JSON can hold; "num_frames", "fps" and "frames_sha256",
    of the bytes of the frames before they are encoded, are added. `overwrite`: see `check_output`. The file is written
    beside its place and then renamed, so that it is there as a whole or not at all; missing folders are made. mp4
    (H.264) needs even sides: an odd one gets its last row or column twice. Only PNGs keep every pixel. The same frames
    make the same file.

    Raises:
        ByTheWayError: as `check_output` does, and for frames that are none.
    """
    path, clip = Path(path), as_frames(frames)
    check_output(path, fps, (clip.shape[2], clip.shape[1]), overwrite=overwrite)
    write = _WRITERS[_format_of(path)]
    digest = hashlib.sha256(clip.tobytes()).hexdigest()
    own = {"num_frames": len(clip), "fps": float(fps), "frames_sha256": digest}
    comment = json.dumps({**(metadata or {}), **own})  # ASCII: GIF and EXIF ask it
    with written(path) as draft:
        write(clip, draft, fps, comment)
    return path


def check_output(
    path: str | os.PathLike[str], fps: float = 8.0, size: tuple[int, int] = (1, 1), *, overwrite: bool = False
) -> None:
    """Raise ByTheWayError when `save_video` could not write there; leaves nothing behind.

    A file is replaced where it is empty or a clip that bytheway made; a folder where it is empty, or holds the PNGs of
    one such clip and nothing else.

    Args:
        size: width and height of the frames in pixels.
        overwrite: replace any file; folders are held to the same as ever.
    """
    path = Path(path)
    _check_fps(path, fps)
    ending = _format_of(path)
    width, height = size
    if max(size) > LONGEST_SIDE[ending]:
        kind = ending or "a folder of PNGs"
        raise ByTheWayError(
            f"The frames have {width}x{height} pixels; {kind} holds {LONGEST_SIDE[ending]} at most on a side.",
            setting="scale",
        )
    if width * height > MOST_PIXELS:
        raise ByTheWayError(
            f"The frames have {width}x{height} pixels; {MOST_PIXELS} in all are the most that is written.",
            setting="scale",
        )
    if ending:
        check_file(path)
        if not overwrite and path.exists() and not _is_our_file(path):
            raise ByTheWayError(
                f"{path} exists and is no clip that bytheway made: choose another name.", setting="overwrite"
            )
        return
    check_writable(path)
    if os.path.ismount(os.path.realpath(path)) or os.path.realpath(path) == os.path.realpath(os.curdir):
        raise ByTheWayError(f"{path} is no folder that can be replaced: give a name for a new one in it.")
    if path.exists() and not _is_our_folder(path):
        raise ByTheWayError(f"{path} exists and is no folder of PNGs that bytheway wrote: choose another name.")


def _format_of(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise ByTheWayError(f"{path} ends in {ending}: use .mp4, .gif or .webp, or no ending for a folder of PNGs.")
    return ending


def _check_fps(path: Path, fps: float) -> None:
    if not SLOWEST <= fps <= FASTEST:
        raise ByTheWayError(f"The frame rate is {fps:g}; it must be from {SLOWEST:g} to {FASTEST:g} frames a second.")
    if path.suffix.lower() == ".gif" and fps > FASTEST_GIF:
        raise ByTheWayError(f"A GIF shows at most {FASTEST_GIF:g} frames a second, not {fps:g}: use mp4 or WebP.")


def _is_our_file(file: Path) -> bool:
    """Whether a file can be replaced with nothing lost but a clip that can be made again."""
    try:
        return file.stat().st_size == 0 or "num_frames" in read_metadata(file)
    except ByTheWayError:
        return False


def _is_our_folder(folder: Path) -> bool:
    """Whether a folder can be replaced with nothing lost but a clip: it holds one clip's PNGs, or nothing."""
    if not folder.is_dir():
        return False
    names = sorted(file.name for file in folder.iterdir())
    if names != [f"{index:04d}.png" for index in range(len(names))]:
        return False
    try:
        return not names or read_metadata(folder).get("num_frames") == len(names)
    except ByTheWayError:  # pictures, but not of ours
        return False


def _write_mp4(frames: Frames, path: Path, fps: float, comment: str) -> None:
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "17"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # how x264's threads share a picture changes with the machine's load
        # said explicitly, for players guess the colours of an untagged file from its size
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_gif(frames: Frames, path: Path, fps: float, comment: str) -> None:
    ticks = np.round(np.arange(len(frames) + 1) * 100 / fps)  # hundredths of a second, so that the mean rate is exact
    first, *rest = (_with_palette(Image.fromarray(frame)) for frame in frames)
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=[int(d) * 10 for d in np.diff(ticks)],
        loop=0,
        comment=comment.encode("ascii"),
    )


def _with_palette(image: Image.Image) -> Image.Image:
    """The picture in the 256 colours that suit it, dithered; taken from a small copy, which is quick."""
    small = image.copy()
    small.thumbnail((128, 128), Image.Resampling.NEAREST)
    return image.quantize(palette=small.quantize(256, kmeans=1), dither=Image.Dither.FLOYDSTEINBERG)


def _write_webp(frames: Frames, path: Path, fps: float, comment: str) -> None:
    ticks = np.round(np.arange(len(frames) + 1) * 1000 / fps)
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = comment
    first, *rest = (Image.fromarray(f) for f in frames)
    first.save(
        path,
        format="WEBP",
        save_all=True,
        append_images=rest,
        duration=[int(d) for d in np.diff(ticks)],
        loop=0,
        quality=90,
        exif=exif.tobytes(),
    )


def _write_pngs(frames: Frames, path: Path, fps: float, comment: str) -> None:
    path.mkdir()
    text = PngInfo()
    text.add_text("Comment", comment)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{index:04d}.png", pnginfo=text)


_WRITERS: dict[str, Callable[[Frames, Path, float, str], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
    "": _write_pngs,
}
