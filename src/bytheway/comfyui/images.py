"""Frames and pictures as ComfyUI hands them from node to node: floats in [0, 1], (pictures, height, width, 3)."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bytheway.clips.frames import Frames
from bytheway.clips.sheets import enlarge, factor_to_reach
from bytheway.generation.clip import COMFORTABLE

_DPI: Final = 100


def as_image(frames: Frames) -> Tensor:
    """A clip, (frames, height, width, 3)."""
    return torch.from_numpy(frames.astype(np.float32) / 255)


def enlarged(frames: Frames, factor: int) -> Frames:
    """A clip with its sides `factor` times as long; 0: until the shorter one has 256 pixels."""
    return enlarge(frames, factor or factor_to_reach(COMFORTABLE, min(frames.shape[1:3])))


def picture_as_image(picture: Image.Image) -> Tensor:
    """One picture, (1, height, width, 3)."""
    return as_image(np.asarray(picture.convert("RGB"))[None])


def figure_as_image(figure: Any) -> Tensor:
    """A figure of matplotlib, (1, height, width, 3)."""
    written = BytesIO()
    figure.savefig(written, format="png", dpi=_DPI)
    return picture_as_image(Image.open(written))
