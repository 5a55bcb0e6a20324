"""Where the backbones of measures compute, in which precision, and how much at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.models.placement import resolve_device, resolve_dtype


@dataclass(frozen=True)
class Placement:
    """Where and how backbones compute.

    Attributes:
        device: on which.
        dtype: float32, or a half precision in which matrix products and convolutions are computed (autocast); the
            weights stay as they are.
        batch_size: of how many frames or pairs at most are given to a backbone at once; large frames in fewer.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    batch_size: int = 8

    @property
    def precision(self) -> str:
        """The dtype by its name, for a `Backbone`."""
        return str(self.dtype).removeprefix("torch.")

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A block in which networks compute as this says, without gradients."""
        half = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=half):
            yield

    def chunks(self, frames: Frames, at_once: int | None = None) -> Iterator[torch.Tensor]:
        """The frames a few at a time, on the device: float32, (n, 3, height, width), 0 to 255.

        Args:
            frames: uint8, (frames, height, width, 3).
            at_once: how many; by default the batch size.
        """
        step = at_once or self.batch_size
        for begin in range(0, len(frames), step):
            few = torch.from_numpy(frames[begin : begin + step].copy()).to(self.device)
            yield few.movedim(-1, 1).float()

    def pairs_at_once(self, height: int, width: int) -> int:
        """How many pairs of frames of a size are given to a network that keeps whole feature maps of them."""
        return max(1, min(self.batch_size, _PIXELS // (height * width)))


def placement(device: str | torch.device | None, dtype: str | torch.dtype | None, batch_size: int) -> Placement:
    """The placement asked for; by default the accelerator of this machine, else the CPU, in float32.

    Raises:
        ByTheWayError: the device is not there, the dtype is none to compute in, or the batch size is none.
    """
    if batch_size < 1:
        raise ByTheWayError(f"The batch size is {batch_size}; give 1 or more.")
    target = resolve_device(device)
    return Placement(target, resolve_dtype(dtype or torch.float32, target), batch_size)


_PIXELS = 2**20
"""Of the pairs that a flow or an interpolator is given at once: four of 512x512, one of 1080p."""
