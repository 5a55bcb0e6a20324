"""Frames made ready for backbones, as VBench does: resized without antialiasing, never rounded, then normalised."""

from __future__ import annotations

from typing import Final

import torch
from torch.nn import functional as F

from bytheway.clips.frames import Frames

SIDE: Final = 224
"""Of what DINO and CLIP see, in pixels."""
PATCH: Final = 16
"""The side of DINO's patches, in pixels."""

_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP: Final = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def for_dino(frames: torch.Tensor) -> torch.Tensor:
    """Frames (n, 3, height, width), 0 to 255, as DINO sees them: the shorter side 224, bilinear, ImageNet's mean."""
    return _normalised(resized(frames, shorter_side(frames, SIDE), "bilinear") / 255, _IMAGENET)


def for_clip(frames: torch.Tensor) -> torch.Tensor:
    """Frames (n, 3, height, width), 0 to 255, as CLIP sees them: (n, 3, 224, 224), bicubic, cut about the middle.

    Bicubic resampling overshoots; it is left so.
    """
    return _normalised(centre_crop(resized(frames, shorter_side(frames, SIDE), "bicubic"), SIDE) / 255, _CLIP)


def for_clip_in_bytes(frames: torch.Tensor) -> torch.Tensor:
    """As `for_clip`, with the resampled values clamped to 0 to 255 and rounded."""
    small = resized(frames, shorter_side(frames, SIDE), "bicubic").clamp(0, 255).round()
    return _normalised(centre_crop(small, SIDE) / 255, _CLIP)


def said_for_dino(frames: Frames) -> tuple[str, ...]:
    """What `for_dino` and DINO's patches do to a clip (frames, height, width, 3), in sentences."""
    _, height, width, _ = frames.shape
    seen = made_shorter(height, width, SIDE)
    lost = [f"{seen[axis] % PATCH} {name}" for axis, name in enumerate(("rows", "columns")) if seen[axis] % PATCH]
    unseen = (f"The last {' and '.join(lost)} fill no patch and were not seen.",) if lost else ()
    return (*_said_of_size((height, width), seen), *unseen)


def said_for_clip(frames: Frames) -> tuple[str, ...]:
    """What `for_clip` does to a clip (frames, height, width, 3), in sentences."""
    _, height, width, _ = frames.shape
    seen = made_shorter(height, width, SIDE)
    cut = (f"Only the {SIDE}x{SIDE} pixels in the middle were seen.",) if max(seen) > SIDE else ()
    return (*_said_of_size((height, width), seen), *cut)


def _said_of_size(size: tuple[int, int], seen: tuple[int, int]) -> tuple[str, ...]:
    if size == seen:
        return ()
    done = "enlarged" if seen > size else "made smaller"
    return (f"The frames of {size[1]}x{size[0]} pixels were {done} to {seen[1]}x{seen[0]}.",)


def shorter_side(frames: torch.Tensor, side: int) -> tuple[int, int]:
    """Height and width of frames (..., height, width) with the shorter of the two made `side`."""
    height, width = frames.shape[-2:]
    return made_shorter(height, width, side)


def made_shorter(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width with the shorter of the two made `side`, and the longer rounded down."""
    return (side, int(side * width / height)) if height <= width else (int(side * height / width), side)


def within(frames: torch.Tensor, longest: int) -> tuple[int, int]:
    """Height and width with the longer of the two at most `longest`, both rounded down."""
    height, width = frames.shape[-2:]
    if max(height, width) <= longest:
        return height, width
    scale = longest / max(height, width)
    return int(scale * height), int(scale * width)


def resized(frames: torch.Tensor, size: tuple[int, int], mode: str) -> torch.Tensor:
    """Frames (n, channels, height, width) at another size, without antialiasing; of the same size untouched."""
    if frames.shape[-2:] == size:
        return frames
    return F.interpolate(frames, size=size, mode=mode, align_corners=False)


def centre_crop(frames: torch.Tensor, side: int) -> torch.Tensor:
    """The square in the middle; halves are rounded to the even number."""
    height, width = frames.shape[-2:]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return frames[..., top : top + side, left : left + side]


def padding(height: int, width: int, multiple: int) -> tuple[int, int, int, int]:
    """What makes both sides multiples: left, right, top, bottom. Left and top have the smaller half."""
    down, across = -height % multiple, -width % multiple
    return across // 2, across - across // 2, down // 2, down - down // 2


def padded(frames: torch.Tensor, multiple: int) -> torch.Tensor:
    """Frames (n, channels, height, width) with their edges repeated until both sides are multiples."""
    height, width = frames.shape[-2:]
    return F.pad(frames, padding(height, width, multiple), mode="replicate")


def cropped(frames: torch.Tensor, height: int, width: int, multiple: int) -> torch.Tensor:
    """Frames of which `padded` made these, of that height and width."""
    left, _, top, _ = padding(height, width, multiple)
    return frames[..., top : top + height, left : left + width]


def _normalised(frames: torch.Tensor, by: tuple[tuple[float, ...], tuple[float, ...]]) -> torch.Tensor:
    mean, deviation = (frames.new_tensor(values).view(3, 1, 1) for values in by)
    return (frames - mean) / deviation
