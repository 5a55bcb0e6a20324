"""A feature map in tiles of pixels, each with the bilinear weights that bring the anchor's maps to it."""

from functools import lru_cache
from math import floor
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

Size = tuple[int, int]


class Tile(NamedTuple):
    """Whole rows of a feature map, or a piece of one row.

    Attributes:
        start, length: its pixels.
        down, across: weights of the anchor's rows and columns, (rows, anchor rows) and (columns, anchor columns).
        anchor_rows, anchor_columns: those of the anchor that have any.
    """

    start: int
    length: int
    down: Tensor
    across: Tensor
    anchor_rows: slice
    anchor_columns: slice


@lru_cache(maxsize=64)
def tiles_of(size: Size, anchor_size: Size, capacity: int, dtype: torch.dtype) -> tuple[Tile, ...]:
    """A feature map in tiles of so many pixels at most."""
    (height, width), (anchor_height, anchor_width) = size, anchor_size
    down, across = _bilinear(anchor_height, height, dtype), _bilinear(anchor_width, width, dtype)
    tiles = []
    for rows in _spans(height, max(1, capacity // width)):
        for columns in _spans(width, capacity):
            start, stop = rows.start * width + columns.start, (rows.stop - 1) * width + columns.stop
            sources = _sources(rows, anchor_height, height), _sources(columns, anchor_width, width)
            weights = down[rows, sources[0]], across[columns, sources[1]]
            tiles.append(Tile(start, stop - start, *weights, *sources))
    return tuple(tiles)


def _spans(length: int, longest: int) -> list[slice]:
    """An axis in as few pieces as can be, of about the same length."""
    count = -(-length // longest)
    return [slice(i * length // count, (i + 1) * length // count) for i in range(count)]


def _sources(positions: slice, size: int, new_size: int) -> slice:
    """The pixels of an axis that are neighbours of these positions of the resampled one."""
    first, last = ((position + 0.5) * size / new_size - 0.5 for position in (positions.start, positions.stop - 1))
    return slice(max(0, floor(first)), min(size, floor(last) + 2))


def _bilinear(size: int, new_size: int, dtype: torch.dtype) -> Tensor:
    """The weights that resample an axis as `method.resample_map` does, (new_size, size)."""
    with torch.inference_mode(False):
        identity = torch.eye(size, dtype=dtype, device="cpu")[None]
        weights: Tensor = interpolate(identity, size=new_size, mode="linear", align_corners=False)[0]
        return weights.T.contiguous()
