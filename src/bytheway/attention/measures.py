"""The maps that are kept of a site, and what is measured of them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bytheway import method
from bytheway.attention.layout import Layout


class Anchor(NamedTuple):
    """The softmax map of an anchor site, (rows, heads, F, F), and what its rows are."""

    attn: Tensor
    layout: Layout


class Measures(NamedTuple):
    """What was seen at one site, one float32 number per video, (videos,), from the conditional maps.

    Attributes:
        energy: E1, of the map as the model made it.
        energy_after: E3, of the map as it was used.
        disparity: mean Frobenius norm of U(A_1) - A; None where there is no anchor to compare with.
        beta: amplification of the high frequencies; 1 where the method is off.
    """

    energy: Tensor
    energy_after: Tensor
    disparity: Tensor | None
    beta: Tensor

    def detach(self) -> "Measures":
        """The same numbers, without what gradients would need."""
        disparity = None if self.disparity is None else self.disparity.detach()
        return Measures(self.energy.detach(), self.energy_after.detach(), disparity, self.beta.detach())


def join(measures: Sequence[Measures]) -> Measures:
    """The measures of some videos each as those of all."""
    disparities = [one.disparity for one in measures if one.disparity is not None]
    return Measures(
        torch.cat([one.energy for one in measures]),
        torch.cat([one.energy_after for one in measures]),
        torch.cat(disparities) if disparities else None,
        torch.cat([one.beta for one in measures]),
    )


def only_dc_is_low(num_frames: int, tau: int) -> bool:
    """Whether the high band is everything but DC, as at 16 frames with the paper's tau: then A P = A - 1/F."""
    return num_frames / 2 - tau <= 1


@lru_cache(maxsize=32)
def projector(num_frames: int, tau: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """P, (F, F): keeps the high band and nothing else. Made once, so that no step waits for a copy."""
    with torch.inference_mode(False):
        identity = torch.eye(num_frames, dtype=dtype, device=device)
        return identity - method.frequency_filter(num_frames, tau, 0.0, dtype=dtype, device=device)
