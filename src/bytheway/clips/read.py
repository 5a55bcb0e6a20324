"""Clips from files: what `bytheway.clips.write` wrote, and every video that FFmpeg reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageSequence

from bytheway.clips.frames import FASTEST, IMAGE_DESCRIPTION, SLOWEST, Frames
from bytheway.errors import ByTheWayError


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
    if len(shown) == 1:  # a single picture: WebP then drops the duration
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
