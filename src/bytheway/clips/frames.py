"""A clip in memory, and what every format can say of one.

A clip is `Frames`: a uint8 array of shape (frames, height, width, 3), RGB.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bytheway.errors import ByTheWayError

Frames: TypeAlias = NDArray[np.uint8]

SLOWEST: Final = 0.01  # frames a second; every format can say this and the next
FASTEST: Final = 1000.0
IMAGE_DESCRIPTION: Final = 0x010E  # the EXIF tag that carries a WebP's settings


class NotFiniteError(ByTheWayError):
    """Frames that hold values which are no finite numbers.

    Args:
        damaged: which frames do.
        count: of all of them.
        values: what they hold, in words.
    """

    def __init__(self, damaged: NDArray[np.int_], count: int, values: str) -> None:
        which = "All" if len(damaged) == count else f"{len(damaged)} of the"
        first = "" if len(damaged) == count else f", from frame {damaged[0]} on"
        self.what: Final = f"{which} {count} frames hold {values}{first}"
        super().__init__(f"{self.what}; make them anew.")


def as_frames(video: Any) -> Frames:
    """A clip from what pipelines return.

    `video`: a list of PIL images or arrays, an array or a tensor, (frames, height, width, 3) or (frames, 3, height,
    width), of bytes or of floats in [0, 1]. Raises ByTheWayError for another shape, NotFiniteError for values that are
    not finite.
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
    damaged = ~np.isfinite(frames).all(axis=(1, 2, 3))
    if damaged.any():
        raise NotFiniteError(damaged.nonzero()[0], len(frames), "NaN" if np.isnan(frames).any() else "infinite values")
    return np.asarray((frames.clip(0, 1) * 255).round(), dtype=np.uint8)
