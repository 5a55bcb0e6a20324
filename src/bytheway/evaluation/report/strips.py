"""Clips as single pictures that hold all frames, which a page shows one at a time: exactly in step, in any browser."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bytheway.clips.read import load_video

LONGER_SIDE = 384  # pixels, at most; pages with dozens of clips stay small enough to be sent
MOST_FRAMES = 64  # of a strip; of longer clips every second frame is shown, or fewer


@dataclass(frozen=True)
class Strip:
    """All frames of a clip in one picture, row by row.

    Attributes:
        uri: the picture (WebP) as a data URI.
        frames, columns, rows: how many there are.
        width, height: of a frame, in pixels.
        fps: frames a second, at which they are shown as long as the clip.
    """

    uri: str
    frames: int
    columns: int
    rows: int
    width: int
    height: int
    fps: float


def strip_of(path: Path) -> Strip:
    """The strip of a clip file."""
    frames, fps = load_video(path)
    every = math.ceil(len(frames) / MOST_FRAMES)
    chosen = frames[::every]
    height, width = chosen.shape[1:3]
    scale = min(1.0, LONGER_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    columns = math.ceil(math.sqrt(len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    sheet = Image.new("RGB", (columns * size[0], rows * size[1]))
    for index, frame in enumerate(chosen):
        image = Image.fromarray(np.ascontiguousarray(frame))
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(image, (index % columns * size[0], index // columns * size[1]))
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=88, method=4)
    uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return Strip(uri, len(chosen), columns, rows, *size, fps / every)
