"""RAFT's correlations of large frames, computed where they are looked up instead of all being kept."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_AT_ONCE: Final = 2**26
"""Numbers of a chunk of looked-up features: 256 MiB in float32."""


def volume_bytes(frames: Tensor) -> int:
    """The memory of all correlations of pairs of frames (n, 3, height, width), at their eighth, with the pyramid's."""
    count, _, height, width = frames.shape
    return 4 * count * ((height // 8) * (width // 8)) ** 2 * 4 // 3


class BoundedCorrelation(nn.Module):
    """Stands in for torchvision's correlation block, whose memory grows with the square of the pixels.

    A correlation is a product of features and so linear in those of the second frame: what is looked up between the
    entries of the pooled pyramid is the product with the second frame's features, pooled and looked up in the same way.

    Args:
        block: torchvision's, for its levels and radius.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.num_levels: int = block.num_levels
        self.radius: int = block.radius
        self.out_channels: int = block.out_channels

    def build_pyramid(self, fmap1: Tensor, fmap2: Tensor) -> None:
        """Keep the features (n, channels, h, w) of both frames, the second's at every level."""
        self._first = fmap1.float() / fmap1.shape[1] ** 0.5
        self._pyramid = [fmap2.float()]
        while len(self._pyramid) < self.num_levels:
            self._pyramid.append(F.avg_pool2d(self._pyramid[-1], 2, 2))

    def index_pyramid(self, centroids_coords: Tensor) -> Tensor:
        """Correlations (n, levels * (2 radius + 1)², h, w) about the places (n, 2, h, w), x and y."""
        return torch.stack([self._lookup(index, places) for index, places in enumerate(centroids_coords)])

    def _lookup(self, index: int, places: Tensor) -> Tensor:
        """The correlations of one pair, a few rows at a time."""
        steps = torch.arange(-self.radius, self.radius + 1.0, device=places.device)
        around = torch.cartesian_prod(steps, steps)
        rows = max(1, _AT_ONCE // (self._first.shape[1] * places.shape[-1] * len(around)))
        firsts, centres = self._first[index].split(rows, 1), places.split(rows, 1)
        levels = []
        for level, pooled in enumerate(self._pyramid):
            few = zip(firsts, centres, strict=True)
            levels.append(torch.cat([_correlated(one, pooled[index], at / 2**level, around) for one, at in few], 1))
        return torch.cat(levels)


def _correlated(first: Tensor, second: Tensor, centre: Tensor, around: Tensor) -> Tensor:
    """Products (places, r, w) of features (c, r, w) with those (c, h, w) about centres (2, r, w), 0 beyond the edge."""
    places = centre.movedim(0, -1).unsqueeze(2) + around
    height, width = second.shape[-2:]
    grid = 2 * places / places.new_tensor([width - 1, height - 1]) - 1
    looked_up = F.grid_sample(second.unsqueeze(0), grid.flatten(0, 1).unsqueeze(0), align_corners=True)
    return torch.einsum("crw,crwk->krw", first, looked_up[0].unflatten(1, first.shape[1:]))
