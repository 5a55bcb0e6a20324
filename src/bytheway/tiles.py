"""Temporal attention on a CPU, in tiles of pixels whose maps stay in its caches.

The maps of a site are many and tiny. A tile of them is made, guided, measured and applied before the next one is begun,
so that none is ever in memory as a whole, and heads are laid out for the batched products of the BLAS one tile at a
time. The anchor is upsampled the same way: rows of pixels by one product with the bilinear weights, columns by another,
which mixes the result into the maps at once.

Where a video does not fit into a tile, its beta is known only after the last of its conditional tiles. These write
A2 P V in the place of the output and keep A2 (I - P) V, which in the paper's band is the mean frame of V; a pass over
both adds them up. The other parts come after that, with their beta known. Arithmetic is in float32 (float64 for float64
tensors), the precision that any module may ask of its softmax, and written in place: no gradient flows.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway import method
from bytheway.config import ByTheWayConfig
from bytheway.maps import Anchor, Layout, Measures, join, only_dc_is_low, projector

# What one thread works on at a time: the maps of a tile, and two of its query, key, value and output.
TILE_BYTES = 4 << 20


def serves(*tensors: Tensor) -> bool:
    """Whether a site with this query, key and value can be attended to in tiles."""
    gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return tensors[0].device.type == "cpu" and not gradient


class _Tile(NamedTuple):
    """Some rows of a site's batch: of these parts and videos, whole rows of the feature map or a piece of one row."""

    parts: slice
    videos: slice
    rows: slice
    columns: slice
    pixels: slice

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """Into (parts, videos, pixels, ...)."""
        return self.parts, self.videos, self.pixels


class _Seen:
    """Sums over the conditional maps of some videos, (videos,) each."""

    def __init__(self, videos: int, dtype: torch.dtype) -> None:
        self.energy, self.low, self.high, self.apart = torch.zeros(4, videos, dtype=dtype)


class TiledSite:
    """One call of one site.

    Attributes:
        output: (rows, heads, F, channels of a head), in memory with the heads next to their channels.
    """

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: Layout,
        scale: float,
        config: ByTheWayConfig,
        anchor: Anchor | None = None,
        *,
        measure: bool = False,
    ) -> None:
        """
        Args:
            query, key, value: (rows, heads, F, channels of a head).
            scale: of the scores.
            anchor: guides the maps where config.alpha > 0, and is what their disparity refers to.
            measure: whether measures are wanted.
        """
        rows, self.heads, self.frames, channels = query.shape
        self.layout, self.scale, self.config, self.measure = layout, scale, config, measure
        self.dtype = torch.promote_types(query.dtype, torch.float32)
        self.query, self.key, self.value = (layout.unfold(tensor) for tensor in (query, key, value))
        self.output = value.new_empty(rows, self.frames, self.heads, value.shape[-1]).transpose(1, 2)
        self.outputs = layout.unfold(self.output)
        self.projector: Tensor | None = None
        if not only_dc_is_low(self.frames, config.tau):
            self.projector = projector(self.frames, config.tau, self.dtype, query.device)
        self.guides = anchor is not None and config.alpha > 0
        self.anchors: Tensor | None = None
        if anchor is not None and (self.guides or measure):
            self.anchor_size = anchor.layout.height_width
            self.anchors = self._planes(anchor)

        widest = max(channels, value.shape[-1])
        bytes_per_row = self.heads * self.frames * (self.frames + 2 * widest) * self.dtype.itemsize
        capacity = max(1, torch.get_num_threads() * TILE_BYTES // bytes_per_row)
        height, width = layout.height_width
        self.videos_per_tile = capacity // (layout.parts * height * width)
        self.rows_per_tile, self.columns_per_tile = max(1, capacity // width), min(capacity, width)
        largest = min(capacity, rows) * self.heads * self.frames
        self._maps = torch.empty(largest * self.frames, dtype=self.dtype)
        self._left, self._right = torch.empty(2, largest * widest, dtype=self.dtype)

    def attend(self, keep: Tensor | None = None) -> Measures | None:
        """Fill the output, with the beta of the settings, or where the anchor guides with that of each video.

        Args:
            keep: (rows, heads, F, F), where to put the softmax maps.
        """
        kept = None if keep is None else self.layout.unfold(keep)
        videos, step = self.query.shape[1], max(1, self.videos_per_tile)
        with torch.autocast("cpu", enabled=False):
            measures = [
                self._attend_videos(slice(first, min(first + step, videos)), kept) for first in range(0, videos, step)
            ]
        return join(measures) if self.measure else None

    def _attend_videos(self, videos: slice, kept: Tensor | None) -> Measures:
        seen = _Seen(videos.stop - videos.start, self.dtype)
        beta = None if self.guides else torch.full_like(seen.energy, self.config.beta)
        parts = [slice(part, part + 1) for part in range(self.layout.parts)]
        if self.videos_per_tile > 0:
            parts = [slice(0, self.layout.parts)]
        elif beta is None:
            beta = self._attend_conditional(parts.pop(self.layout.conditional), videos, seen)
        for tile in self._tiles(parts, videos):
            attn = self._softmax_maps(tile)
            if kept is not None:
                kept[tile.region].copy_(attn)
            self._guide(attn, tile, seen)
            low, high = self._split(attn, tile, seen)
            if beta is None:
                beta = self._beta(seen)
            filtered = high.mul_(beta[:, None, None, None, None]).add_(low)
            self.outputs[tile.region].copy_(self._product(filtered, self._gather(self.value, tile, self._left)))
        assert beta is not None
        energy, low_energy, high_energy = self._energies(seen)
        apart = None if self.anchors is None else seen.apart / (self.query.shape[2] * self.heads)
        return Measures(energy, low_energy + beta.square() * high_energy, apart, beta)

    def _attend_conditional(self, part: slice, videos: slice, seen: _Seen) -> Tensor:
        """Attend with the conditional maps of a video, (1,), whose beta is known only after all of them; returns it."""
        pixels = self.value.shape[2]
        frames = 1 if self.projector is None else self.frames
        lows = torch.empty(1, 1, pixels, self.heads, frames, self.value.shape[-1], dtype=self.dtype)
        tiles = list(self._tiles([part], videos))
        for tile in tiles:
            attn = self._softmax_maps(tile)
            self._guide(attn, tile, seen)
            low, high = self._split(attn, tile, seen)
            values = self._gather(self.value, tile, self._left)
            self.outputs[tile.region].copy_(self._product(high, values))
            lows[:, :, tile.pixels] = self._product(low, values) if isinstance(low, Tensor) else values.mean(-2, True)
        beta = self._beta(seen)
        for tile in tiles:
            self.outputs[tile.region].mul_(beta).add_(lows[:, :, tile.pixels])
        return beta

    def _tiles(self, parts: Iterable[slice], videos: slice) -> Iterator[_Tile]:
        height, width = self.layout.height_width
        for part in parts:
            for top in range(0, height, self.rows_per_tile):
                bottom = min(top + self.rows_per_tile, height)
                for left in range(0, width, self.columns_per_tile):
                    right = min(left + self.columns_per_tile, width)
                    pixels = slice(top * width + left, (bottom - 1) * width + right)
                    yield _Tile(part, videos, slice(top, bottom), slice(left, right), pixels)

    def _softmax_maps(self, tile: _Tile) -> Tensor:
        """A, (parts, videos, pixels, heads, F, F)."""
        query, key = self._gather(self.query, tile, self._left), self._gather(self.key, tile, self._right)
        attn = _view(self._maps, (*query.shape[:-1], self.frames))
        # Nothing of what was in the memory gets into it with beta=0.
        attn.flatten(0, 3).baddbmm_(query.flatten(0, 3), key.flatten(0, 3).mT, beta=0, alpha=self.scale)
        return torch.softmax(attn, -1, out=attn)

    def _gather(self, tensor: Tensor, tile: _Tile, memory: Tensor) -> Tensor:
        """The rows of a tile in the precision of the arithmetic, each matrix of a head in one piece."""
        rows = tensor[tile.region]
        return _view(memory, rows.shape).copy_(rows)

    def _product(self, attn: Tensor, values: Tensor) -> Tensor:
        """A V, in the memory of the keys."""
        product = _view(self._right, values.shape)
        torch.bmm(attn.flatten(0, 3), values.flatten(0, 3), out=product.flatten(0, 3))
        return product

    def _guide(self, attn: Tensor, tile: _Tile, seen: _Seen) -> None:
        """From A to A2, in place."""
        measured = self._is_measured(tile)
        if measured:
            seen.energy += self._squares(attn, tile)
        if self.anchors is None:
            return
        weights, rows = self._upsampled_rows(tile)
        maps = attn.view(*rows.shape[:1], weights.shape[1], -1)
        if measured and self.measure:
            difference = torch.baddbmm(maps, weights, rows, beta=-1)
            apart = difference.view_as(attn)[self.layout.conditional - tile.parts.start]
            seen.apart += torch.linalg.vector_norm(apart, dim=(-2, -1)).sum((1, 2))
            maps.add_(difference, alpha=self.config.alpha)
        else:
            maps.baddbmm_(weights, rows, beta=1 - self.config.alpha, alpha=self.config.alpha)

    def _upsampled_rows(self, tile: _Tile) -> tuple[Tensor, Tensor]:
        """What the columns of U(A_1) are made of: weights (n, columns, anchor columns), maps (n, anchor columns, -1).

        n counts parts, videos and rows of the feature map.
        """
        assert self.anchors is not None
        (height, width), (anchor_height, anchor_width) = self.layout.height_width, self.anchor_size
        sources = _sources(tile.rows, anchor_height, height), _sources(tile.columns, anchor_width, width)
        down = _bilinear(anchor_height, height, self.dtype)[tile.rows, sources[0]]
        across = _bilinear(anchor_width, width, self.dtype)[tile.columns, sources[1]]
        maps = self.anchors[tile.parts, tile.videos, *sources].to(self.dtype).flatten(0, 1).flatten(2)
        rows = torch.bmm(down.expand(len(maps), -1, -1), maps).view(-1, across.shape[1], self.anchors.shape[-1])
        return across.expand(len(rows), -1, -1), rows

    def _planes(self, anchor: Anchor) -> Tensor:
        """The maps of the anchor with as many heads as the site: (parts, videos, height, width, heads * F * F)."""
        maps = anchor.layout.unfold(anchor.attn)
        matched = method.match_heads(maps, self.heads, self.config.head_rule)
        return matched.expand(-1, -1, -1, self.heads, -1, -1).reshape(*maps.shape[:2], *self.anchor_size, -1)

    def _split(self, attn: Tensor, tile: _Tile, seen: _Seen) -> tuple[Tensor | float, Tensor]:
        """The low and the high band of A2, in its memory."""
        low: Tensor | float
        if self.projector is None:
            low, high = 1 / self.frames, attn.sub_(1 / self.frames)
        else:
            high = attn.view(-1, self.frames).mm(self.projector).view_as(attn)
            low = attn.sub_(high)
        if self._is_measured(tile):
            seen.high += self._squares(high, tile)
            if isinstance(low, Tensor):
                seen.low += self._squares(low, tile)
        return low, high

    def _is_measured(self, tile: _Tile) -> bool:
        """Whether a tile has conditional maps, and their energies are wanted."""
        return (self.guides or self.measure) and tile.parts.start <= self.layout.conditional < tile.parts.stop

    def _squares(self, maps: Tensor, tile: _Tile) -> Tensor:
        """The sums of the squares of the conditional maps, (videos,)."""
        conditional = maps[self.layout.conditional - tile.parts.start]
        norms: Tensor = torch.linalg.vector_norm(conditional.flatten(1), dim=1)
        return norms.square()

    def _energies(self, seen: _Seen) -> tuple[Tensor, Tensor, Tensor]:
        """Of A, and of the bands of A2."""
        rows = self.query.shape[2] * self.heads * self.frames
        low = torch.full_like(seen.low, 1 / self.frames) if self.projector is None else seen.low / rows
        return seen.energy / rows, low, seen.high / rows

    def _beta(self, seen: _Seen) -> Tensor:
        return method.adaptive_beta(*self._energies(seen), self.config.beta, self.config.beta_rule)


def _view(memory: Tensor, shape: Sequence[int]) -> Tensor:
    """The beginning of a piece of memory in this shape."""
    return memory[: math.prod(shape)].view(shape)


def _sources(positions: slice, size: int, new_size: int) -> slice:
    """The pixels of an axis that are neighbours of these positions of the resampled one."""
    first, last = ((position + 0.5) * size / new_size - 0.5 for position in (positions.start, positions.stop - 1))
    return slice(max(0, math.floor(first)), min(size, math.floor(last) + 2))


@lru_cache(maxsize=32)
def _bilinear(size: int, new_size: int, dtype: torch.dtype) -> Tensor:
    """The weights that resample an axis as `method.resample_map` does, (new_size, size)."""
    with torch.inference_mode(False):
        identity = torch.eye(size, dtype=dtype)[None]
        weights: Tensor = F.interpolate(identity, size=new_size, mode="linear", align_corners=False)[0]
        return weights.T.contiguous()
