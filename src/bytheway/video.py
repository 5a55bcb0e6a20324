"""Clips in and out: mp4, GIF, WebP and folders of PNGs, each carrying its settings.

A clip is `Frames`: a uint8 array of shape (frames, height, width, 3), RGB. Settings are a JSON object kept in the
place where each format has its comment (mp4 and GIF: comment; WebP: the EXIF image description; PNG: the text chunk
"Comment" of every frame), so `ffprobe`, `exiftool` and the like show them too.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo

from bytheway.errors import ByTheWayError
from bytheway.files import check_file, check_writable, parents_made

Frames: TypeAlias = NDArray[np.uint8]

SLOWEST, FASTEST = 0.01, 1000.0  # frames a second; every format can say these
FASTEST_GIF = 50.0  # frames a second; browsers slow anything faster down to 10
LONGEST_SIDE = {".mp4": 16384, ".gif": 65535, ".webp": 16383}  # pixels; x264's limit and the formats' own
IMAGE_DESCRIPTION = 0x010E  # the EXIF tag


# ---------------------------------------------------------------------------------------------------------- frames


def as_frames(video: Any) -> Frames:
    """A clip from what pipelines return.

    `video`: a list of PIL images or arrays, an array or a tensor, (frames, height, width, 3) or (frames, 3, height,
    width), of bytes or of floats in [0, 1]. Raises ByTheWayError for another shape and for values that are not finite.
    """
    if isinstance(video, (list, tuple)):
        video = np.stack([np.asarray(f.convert("RGB") if isinstance(f, Image.Image) else f) for f in video])
    if hasattr(video, "detach"):
        video = video.detach().cpu()
        video = (video.float() if video.is_floating_point() else video).numpy()
    frames = np.asarray(video)
    if frames.ndim == 4 and frames.shape[-1] != 3 and frames.shape[1] == 3:
        frames = np.moveaxis(frames, 1, -1)
    if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise ByTheWayError(f"A clip has the shape (frames, height, width, 3), but this one has {frames.shape}.")
    if frames.dtype == np.uint8:
        return frames
    if not np.isfinite(frames).all():
        raise ByTheWayError("The frames hold values that are not numbers: try float32 in place of a half precision.")
    return np.asarray((frames.clip(0, 1) * 255).round(), dtype=np.uint8)


# ----------------------------------------------------------------------------------------------------------- write


def save_video(
    frames: Any, path: str | os.PathLike[str], fps: float = 8.0, metadata: Mapping[str, Any] | None = None
) -> Path:
    """Write a clip, in the format its ending says: .mp4, .gif, .webp, or a folder of PNGs without one.

    `frames`: whatever `as_frames` takes. `metadata`: anything JSON can hold; "num_frames" and "fps" are added. The
    file is written beside its place and then renamed, so that it is there as a whole or not at all; missing folders
    are made. mp4 (H.264) needs even sides: an odd one gets its last row or column twice. Only PNGs keep every pixel.

    Raises:
        ByTheWayError: as `check_output` does, and for frames that are none.
    """
    path, clip = Path(path), as_frames(frames)
    check_output(path, fps, (clip.shape[2], clip.shape[1]))
    write = _WRITERS[_format_of(path)]
    comment = json.dumps({**(metadata or {}), "num_frames": len(clip), "fps": float(fps)})  # ASCII: GIF and EXIF ask it
    with _written_beside(path) as fresh:
        write(clip, fresh, fps, comment)
    return path


def check_output(path: str | os.PathLike[str], fps: float = 8.0, size: tuple[int, int] = (1, 1)) -> None:
    """Raise ByTheWayError when `save_video` could not write there; leaves nothing behind.

    A file is replaced; a folder only where it is empty, or holds the PNGs of one clip and nothing else.

    Args:
        size: width and height of the frames in pixels.
    """
    path = Path(path)
    _check_fps(path, fps)
    ending = _format_of(path)
    longest = LONGEST_SIDE.get(ending)
    if longest and max(size) > longest:
        raise ByTheWayError(f"The frames have {size[0]}x{size[1]} pixels; {ending} holds {longest} at most on a side.")
    if ending:
        check_file(path)
        return
    if os.path.ismount(os.path.realpath(path)) or os.path.realpath(path) == os.path.realpath(os.curdir):
        raise ByTheWayError(f"{path} is no folder that can be replaced: give a name for a new one in it.")
    if path.exists() and not _is_ours(path):
        raise ByTheWayError(f"{path} exists and is no folder of PNGs that bytheway wrote: choose another name.")
    check_writable(path)


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


def _is_ours(folder: Path) -> bool:
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


@contextmanager
def _written_beside(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` when the block ends well and vanishes when it does not.

    Where `path` is a link, what it leads to is written.
    """
    path = Path(os.path.realpath(path))
    with parents_made(path):
        scratch = Path(tempfile.mkdtemp(prefix=".bytheway-", dir=path.parent))
        try:
            fresh = scratch / path.name
            yield fresh
            if path.is_dir():
                _replace_folder(path, fresh, scratch / f"{path.name}.replaced")
            else:
                os.replace(fresh, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _replace_folder(folder: Path, fresh: Path, aside: Path) -> None:
    """Put a folder in the place of another, which takes two moves; if the second is not made, the first is undone."""
    os.replace(folder, aside)
    try:
        os.replace(fresh, folder)
    except BaseException:
        if not folder.exists():
            os.replace(aside, folder)
        raise


def _write_mp4(frames: Frames, path: Path, fps: float, comment: str) -> None:
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "17"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
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


# ------------------------------------------------------------------------------------------------------------ read


def load_video(path: str | os.PathLike[str], num_frames: int | None = None) -> tuple[Frames, float]:
    """The frames of a clip, the first `num_frames` of them or all, and its frames a second.

    Reads what `save_video` writes, other people's files of these formats, and every video FFmpeg reads. GIF and WebP
    store equal neighbours once: a frame held longer than the others counts as often as it was shown. No more frames
    than asked for are ever in memory; a clip that has fewer gives those.

    Raises:
        ByTheWayError: there is no such file or folder, or it holds no video, or a damaged one.
    """
    path = _existing(path)
    settings = _settings(_comment_of(path))
    try:
        if path.is_dir():
            return _load_pngs(path, settings, num_frames)
        if path.suffix.lower() in (".gif", ".webp"):
            return _load_animation(path, settings, num_frames)
        return _load_container(path, num_frames)
    except ByTheWayError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # decoders answer broken files with nearly anything
        raise ByTheWayError(f"{path} is damaged or cut short; give another video.") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings a clip carries. Raises ByTheWayError when it is no clip or carries none."""
    path = _existing(path)
    settings = _settings(_comment_of(path))
    if not settings:
        raise ByTheWayError(f"{path} carries no settings: bytheway did not make it, or they were stripped since.")
    return settings


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.exists():
        raise ByTheWayError(f"There is no file {path}.")
    return path


def _settings(comment: str | None) -> dict[str, Any]:
    try:
        settings = json.loads(comment or "{}")
    except (ValueError, RecursionError):
        return {}  # somebody else's remark
    return settings if isinstance(settings, dict) else {}


def _comment_of(path: Path) -> str | None:
    try:
        if path.is_dir():
            path = _pngs(path)[0]
        if path.suffix.lower() in (".gif", ".webp", ".png"):
            with Image.open(path) as image:
                comment = image.info.get("comment", image.info.get("Comment", image.getexif().get(IMAGE_DESCRIPTION)))
            return comment.decode("utf-8", "replace") if isinstance(comment, bytes) else comment
        with av.open(str(path), metadata_errors="replace") as container:
            return container.metadata.get("comment")
    except (ByTheWayError, MemoryError):
        raise
    except Exception as error:  # decoders answer broken files with nearly anything
        raise ByTheWayError(f"{path} is not a video.") from error


def _pngs(folder: Path) -> list[Path]:
    frames = sorted(folder.glob("*.png"))
    if not frames:
        raise ByTheWayError(f"The folder {folder} holds no PNGs.")
    return frames


def _load_pngs(folder: Path, settings: dict[str, Any], num_frames: int | None) -> tuple[Frames, float]:
    frames = []
    for file in _pngs(folder)[:num_frames]:
        with Image.open(file) as image:
            frames.append(np.asarray(image.convert("RGB")))
    if len({frame.shape for frame in frames}) > 1:
        raise ByTheWayError(f"The PNGs in {folder} are of different sizes; a clip has one.")
    return np.stack(frames), _fps(settings) or 8.0


def _fps(settings: Mapping[str, Any]) -> float | None:
    """The frames a second that a clip says it has; None where it says none that can be."""
    fps = settings.get("fps")
    return float(fps) if isinstance(fps, (int, float)) and SLOWEST <= fps <= FASTEST else None


def _load_animation(path: Path, settings: dict[str, Any], num_frames: int | None) -> tuple[Frames, float]:
    pictures: list[Frames] = []
    shown: list[float] = []
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            if num_frames is None or len(pictures) < num_frames:
                pictures.append(np.asarray(frame.convert("RGB")))
            shown.append(frame.info.get("duration") or 100)
    durations = np.array(shown, dtype=float)  # milliseconds
    fps = _fps(settings)
    tick = np.median(durations) if fps is None else 1000 / fps
    counts = np.maximum(1, np.round(durations / tick)).astype(int)
    if len(shown) == 1:  # a still: WebP then drops the duration
        counts[0] = max(1, settings.get("num_frames", 1))
    order = np.arange(len(counts)).repeat(counts)[:num_frames]
    return np.stack([pictures[n] for n in order]), fps or float(1000 * counts.sum() / durations.sum())


def _load_container(path: Path, num_frames: int | None) -> tuple[Frames, float]:
    with av.open(str(path), metadata_errors="replace") as container:
        if not container.streams.video:
            raise ByTheWayError(f"{path} holds no pictures.")
        stream = container.streams.video[0]
        decoded = islice(container.decode(stream), num_frames)
        upright = [np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90) for frame in decoded]
        return np.stack(upright), float(stream.average_rate or 8)
