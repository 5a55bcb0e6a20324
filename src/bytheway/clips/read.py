"""Clips from files: what `bytheway.clips.write` wrote, and every video that FFmpeg reads."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image, ImageSequence

from bytheway.clips.frames import FASTEST, IMAGE_DESCRIPTION, SLOWEST, Frames
from bytheway.clips.pictures import to_rgb
from bytheway.errors import ByTheWayError

PICTURES: Final = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
"""What frames in a folder end in, and the kind of each; the frames of a clip are of one."""

# Of what a file can only claim: bytes of a clip, and of a frame with all that Python keeps of it.
_LARGEST: Final = 2**33
_OVERHEAD: Final = 2**12


def load_video(path: str | os.PathLike[str], num_frames: int | None = None) -> tuple[Frames, float]:
    """The frames of a clip, the first `num_frames` of them or all, and its frames a second.

    Reads what `save_video` writes, other people's files of these formats, folders of pictures (PNG, JPEG or TIFF, in
    natural order), and every video FFmpeg reads. GIF and WebP store equal neighbours once: a frame held longer than the
    others counts as often as it was shown. No more frames than asked for are ever in memory; a clip that has fewer
    gives those.

    Raises:
        ByTheWayError: there is no such file or folder, or it holds no video, or a damaged one.
    """
    path = _existing(path)
    settings = _settings(_comment_of(path))
    try:
        if path.is_dir():
            return _load_folder(path, settings, num_frames)
        if path.suffix.lower() in (".gif", ".webp"):
            return _load_animation(path, settings, num_frames)
        return _load_container(path, num_frames)
    except ByTheWayError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # decoders answer broken files with nearly anything
        raise ByTheWayError(f"{path} is damaged or cut short; give another, or remove it and make it again.") from error


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
            path = _pictures(path)[0]
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


def _pictures(folder: Path) -> list[Path]:
    """The frames of a clip in natural order: 2.png before 10.png."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES and not file.name.startswith(".")]
    if not found:
        raise ByTheWayError(f"The folder {folder} holds no pictures (.png, .jpg or .tif).")
    if len({PICTURES[file.suffix.lower()] for file in found}) > 1:
        raise ByTheWayError(f"The folder {folder} holds pictures of several kinds; leave only those of the clip.")
    return sorted(found, key=natural)


def natural(path: Path) -> tuple[list[str | int], str]:
    """A key that sorts 2.png before 10.png."""
    texts = re.split("([0-9]+)", str(path))  # a text is first, and then they alternate
    return [int(text) if index % 2 else text for index, text in enumerate(texts)], str(path)


def _load_folder(folder: Path, settings: dict[str, Any], num_frames: int | None) -> tuple[Frames, float]:
    frames = []
    for file in _pictures(folder)[:num_frames]:
        with Image.open(file) as image:
            frames.append(np.asarray(to_rgb(image, folder)))
    if len({frame.shape for frame in frames}) > 1:
        raise ByTheWayError(f"The pictures in {folder} are of different sizes; a clip has one.")
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
                pictures.append(np.asarray(to_rgb(frame, path)))
            shown.append(frame.info.get("duration") or 100)
    durations = np.array(shown, dtype=float)  # milliseconds
    fps = _fps(settings)
    tick = np.median(durations) if fps is None else 1000 / fps
    counts = np.maximum(1, np.round(durations / tick)).astype(int)
    if len(shown) == 1:  # a single picture: WebP then drops the duration
        counts[0] = max(1, settings.get("num_frames", 1))
    total = int(counts.sum())
    _check_claim(path, total if num_frames is None else min(total, num_frames), pictures[0].nbytes)
    counts = np.diff(np.minimum(counts.cumsum(), num_frames or total), prepend=0)  # none beyond the last asked for
    order = np.arange(len(counts)).repeat(counts)
    return np.stack([pictures[n] for n in order]), fps or float(1000 * total / durations.sum())


def _check_claim(path: Path, count: int, size: int) -> None:
    """Raise ByTheWayError for more frames, of `size` bytes each, than are worth trying: a few bytes can claim them."""
    if count * max(size, _OVERHEAD) > _LARGEST:
        raise ByTheWayError(f"{path} claims to show {count} frames, too many to be read; give a shorter video.")


def _load_container(path: Path, num_frames: int | None) -> tuple[Frames, float]:
    with av.open(str(path), metadata_errors="replace") as container:
        if not container.streams.video:
            raise ByTheWayError(f"{path} holds no pictures.")
        stream = _longest(path, container.streams.video)
        decoded = islice(container.decode(stream), num_frames)
        upright = [np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90) for frame in decoded]
        return np.stack(upright), float(stream.average_rate or 8)


def _longest(path: Path, streams: Sequence[VideoStream]) -> VideoStream:
    """The stream of a file that is its video: others are its cover and such, often the first of them."""
    if len(streams) == 1:
        return streams[0]
    with av.open(str(path), metadata_errors="replace") as container:  # opened anew, to be read from its beginning
        packets = Counter(packet.stream_index for packet in container.demux(*container.streams.video))
    return max(streams, key=lambda stream: packets[stream.index])
