"""What backbones of motion are to the measures that hold one."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement


class Interpolator(Protocol):
    """A network that tells the frame between two."""

    backbone: Backbone
    placement: Placement

    def __call__(self, first: Tensor, second: Tensor, /) -> Tensor:
        """The middle of frames (n, 3, height, width) in [0, 1], of the same shape; sides are multiples of 16."""


class Flow(Protocol):
    """A network that tells where the pixels of one frame went in another.

    Attributes:
        remarks: what should be known of its measurements, in sentences.
    """

    backbone: Backbone
    placement: Placement
    remarks: tuple[str, ...]

    def __call__(self, first: Tensor, second: Tensor, /) -> Tensor:
        """The flow (n, 2, height, width), x and y in pixels of frames (n, 3, height, width), 0 to 255.

        What the network needs as padding is part of it.
        """

    def enlargement(self, height: int, width: int) -> int:
        """How many times frames of that size are enlarged, since the network accepts none so small; 1 where not."""
