"""Clips as pictures to compare: enlarged, under labels, side by side, and on contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError

Labelled: TypeAlias = tuple[str, Frames]

INK, PAPER = (32, 33, 36), (255, 255, 255)
MARGIN = 4  # pixels


def enlarge(frames: Frames, factor: int) -> Frames:
    """The clip with its sides `factor` times as long, resampled smoothly (Lanczos)."""
    return frames if factor == 1 else _resized(frames, frames.shape[2] * factor, frames.shape[1] * factor)


def factor_to_reach(pixels: int, side: int) -> int:
    """The smallest whole factor that makes a side of the frames, `side` pixels long, `pixels` long or longer."""
    return max(1, -(-pixels // side))


def side_by_side(clips: Sequence[Labelled]) -> Frames:
    """One clip of several of the same shape, from left to right, each under its label.

    Small clips are enlarged until their shorter side has 256 pixels, so that the labels can be read.
    """
    shapes = {frames.shape for _, frames in clips}
    if len(shapes) != 1:
        raise ByTheWayError(f"Clips side by side need one shape, but these have {sorted(shapes)}.")
    factor = factor_to_reach(256, min(clips[0][1].shape[1:3]))
    columns = [_under_label(label, enlarge(frames, factor)) for label, frames in clips]
    apart = [np.pad(c, ((0, 0), (0, 0), (0, 2 * MARGIN), (0, 0)), constant_values=PAPER[0]) for c in columns]
    return np.concatenate(apart, axis=2)[:, :, : -2 * MARGIN]


def contact_sheet(rows: Sequence[Labelled], columns: int = 8, height: int = 160) -> Image.Image:
    """A picture of several clips: a row each, its label above `columns` frames taken evenly from first to last.

    `height`: of a frame on the sheet, in pixels; the width keeps the clip's proportions.
    """
    strips = []
    for label, frames in rows:
        chosen = frames[np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)]
        tiles = _resized(chosen, round(height * frames.shape[2] / frames.shape[1]), height)
        tiles = np.pad(tiles, ((0, 0), (0, MARGIN), (0, MARGIN), (0, 0)), constant_values=PAPER[0])
        strips.append(Image.fromarray(_under_label(label, np.concatenate(list(tiles), axis=1)[None])[0]))
    size = MARGIN + max(strip.width for strip in strips), sum(strip.height for strip in strips)
    sheet, top = Image.new("RGB", size, PAPER), 0
    for strip in strips:
        sheet.paste(strip, (MARGIN, top))
        top += strip.height
    return sheet


def _under_label(label: str, frames: Frames) -> Frames:
    """The clip with a bar above it that says `label`, in letters that fit and can be read."""
    width = frames.shape[2]
    size = 18 if width < 480 else 24
    while size > 9 and ImageFont.load_default(size).getlength(label) > width - 12:
        size -= 1
    bar = Image.new("RGB", (width, 34 if width < 480 else 42), PAPER)
    ImageDraw.Draw(bar).text((6, bar.height / 2), label, fill=INK, font=ImageFont.load_default(size), anchor="lm")
    return np.concatenate([np.broadcast_to(np.asarray(bar), (len(frames), *np.asarray(bar).shape)), frames], axis=1)


def _resized(frames: Frames, width: int, height: int) -> Frames:
    images = (Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS) for frame in frames)
    return np.stack([np.asarray(image) for image in images])
