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

import threading
from functools import lru_cache
from math import floor, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway import method
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Measures, join, only_dc_is_low, projector
from bytheway.config import ByTheWayConfig

# What one thread works on at a time: the maps of a tile, and two of its query, key, value and output.
TILE_BYTES = 4 << 20
# More threads share what this many have: their memory stays for the life of the thread that calls.
MOST_SHARES = 8

Size = tuple[int, int]

_thread = threading.local()


def serves(*tensors: Tensor) -> bool:
    """Whether a site with this query, key and value can be attended to in tiles."""
    gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return tensors[0].device.type == "cpu" and not gradient


class _Tile(NamedTuple):
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


class _Block(NamedTuple):
    """Some videos in one part of the batch, or in all of them.

    Attributes:
        query, key, value, output: (parts, videos, pixels, heads, F, channels of a head).
        kept: where softmax maps are to be put, (parts, videos, pixels, heads, F, F).
        anchors: (parts, videos, height, width, heads * F * F).
        measured: index of the conditional part, where its energies are wanted.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    kept: Tensor | None
    anchors: Tensor | None
    measured: int | None


class _Seen:
    """Sums over conditional maps, (videos,) each: squares, and Frobenius norms of U(A_1) - A."""

    def __init__(self) -> None:
        self.energy: Tensor | float = 0.0
        self.low: Tensor | float = 0.0
        self.high: Tensor | float = 0.0
        self.disparity: Tensor | float = 0.0


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
        self.query, self.key, self.value, self.layout = query, key, value, layout
        self.scale, self.config, self.measure = scale, config, measure
        self.dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
        self.output = value.new_empty(rows, self.frames, self.heads, value.shape[-1]).transpose(1, 2)
        self.projector: Tensor | None = None
        if not only_dc_is_low(self.frames, config.tau):
            self.projector = projector(self.frames, config.tau, self.dtype, query.device)
        self.guides = anchor is not None and config.alpha > 0
        self.anchor = anchor if self.guides or measure else None

        height, width = layout.height_width
        self.pixels = height * width
        self.videos = rows // (layout.parts * self.pixels)
        bytes_per_pixel = self.heads * self.frames * (self.frames + 2 * channels) * self.dtype.itemsize
        capacity = max(1, min(torch.get_num_threads(), MOST_SHARES) * TILE_BYTES // bytes_per_pixel)
        self.videos_per_tile = capacity // (layout.parts * self.pixels)
        anchor_size = (1, 1) if self.anchor is None else self.anchor.layout.height_width
        self.tiles = _tiles(layout.height_width, anchor_size, min(capacity, self.pixels), self.dtype)
        self._memories: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def attend(self, keep: Tensor | None = None) -> Measures | None:
        """Fill the output, with the beta of the settings, or where the anchor guides with that of each video.

        Args:
            keep: (rows, heads, F, F), where to put the softmax maps.
        """
        shape = (self.layout.parts, self.videos, self.pixels)
        query, key, value, output = (
            tensor.view(*shape, *tensor.shape[1:]) for tensor in (self.query, self.key, self.value, self.output)
        )
        everything = _Block(
            query,
            key,
            value,
            output,
            None if keep is None else keep.view(*shape, *keep.shape[1:]),
            None if self.anchor is None else self._planes(self.anchor),
            self.layout.conditional if self.guides or self.measure else None,
        )
        step = self.videos_per_tile or 1
        if step >= self.videos:
            measures = [self._attend_videos(everything)]
        else:
            firsts = range(0, self.videos, step)
            measures = [self._attend_videos(_narrow(everything, slice(None), slice(i, i + step))) for i in firsts]
        if not self.measure:
            return None
        return join([self._measures(seen, beta) for seen, beta in measures])

    def _attend_videos(self, block: _Block) -> tuple[_Seen, Tensor]:
        """Attend with the maps of as many videos as a tile holds, or of one; returns their beta."""
        seen = _Seen()
        beta = (
            None if self.guides else block.query.new_full((block.query.shape[1],), self.config.beta, dtype=self.dtype)
        )
        if self.videos_per_tile:
            return seen, self._attend_block(block, seen, beta)
        parts = [_narrow(block, slice(part, part + 1), slice(None)) for part in range(self.layout.parts)]
        if beta is None:
            beta = self._attend_conditional(parts.pop(self.layout.conditional), seen)
        for part in parts:
            self._attend_block(part, seen, beta)
        return seen, beta

    def _attend_block(self, block: _Block, seen: _Seen, beta: Tensor | None) -> Tensor:
        """Attend with the maps of a block; beta may be unknown where they are a single tile."""
        for tile in self.tiles:
            attn = self._softmax_maps(block, tile)
            if block.kept is not None:
                _pixels(block.kept, tile).copy_(attn.view(*block.kept.shape[:2], tile.length, *block.kept.shape[3:]))
            self._guide(attn, block, tile, seen)
            low, high = self._split(attn, block, seen)
            if beta is None:
                beta = self._beta(seen)
            by_video = high.view(*block.query.shape[:2], -1)
            by_video.mul_(beta[:, None]).add_(low if isinstance(low, float) else low.view_as(by_video))
            output = _pixels(block.output, tile)
            output.copy_(self._product(high, self._gather(block.value, tile, "left")).view(output.shape))
        assert beta is not None
        return beta

    def _attend_conditional(self, block: _Block, seen: _Seen) -> Tensor:
        """Attend with the conditional maps of a video, whose beta, (1,), is known only after all of them."""
        shape = list(block.value.shape)
        shape[-2] = 1 if self.projector is None else self.frames
        lows = self.value.new_empty(shape)
        for tile in self.tiles:
            attn = self._softmax_maps(block, tile)
            self._guide(attn, block, tile, seen)
            low, high = self._split(attn, block, seen)
            values = self._gather(block.value, tile, "left")
            output, low_output = _pixels(block.output, tile), _pixels(lows, tile)
            output.copy_(self._product(high, values).view(output.shape))
            low_values = values.mean(-2) if isinstance(low, float) else self._product(low, values)
            low_output.copy_(low_values.view(low_output.shape))
        beta = self._beta(seen)
        if lows.dtype == self.dtype:
            torch.addcmul(lows, block.output, beta, out=block.output)
        else:
            self._add_up(lows, block.output, beta)
        return beta

    def _add_up(self, lows: Tensor, output: Tensor, beta: Tensor) -> None:
        """lows + beta * output into the output, tile by tile: in half precision beta would not be that of all parts."""
        for tile in self.tiles:
            rows = _pixels(output, tile).transpose(-3, -2)
            wide = self._memory("rows", rows.shape).copy_(rows)
            rows.copy_(wide.mul_(beta).add_(_pixels(lows, tile).transpose(-3, -2)))

    def _softmax_maps(self, block: _Block, tile: _Tile) -> Tensor:
        """A, (maps, F, F)."""
        query, key = self._gather(block.query, tile, "left"), self._gather(block.key, tile, "right")
        attn = self._memory("maps", (query.shape[0], self.frames, self.frames))
        # Nothing of what was in the memory gets into it with beta=0.
        attn.baddbmm_(query, key.mT, beta=0, alpha=self.scale)
        return torch.softmax(attn, -1, out=attn)

    def _gather(self, tensor: Tensor, tile: _Tile, name: str) -> Tensor:
        """The rows of a tile in the precision of the arithmetic, (maps, F, channels of a head)."""
        rows = _pixels(tensor, tile)
        *outer, frames, channels = rows.shape
        gathered = self._memory(name, (prod(outer), frames, channels))
        # Heads are far apart in memory, and what is gathered from afar comes slowly unless a cache has it. So all of it
        # is read in order first, into a copy where it is converted, else for a sum that nobody asks for.
        if rows.dtype != self.dtype:
            rows = rows.transpose(-3, -2)
            rows = self._memory("rows", rows.shape).copy_(rows).transpose(-3, -2)
        elif not self.videos_per_tile:
            rows.sum()
        gathered.view(rows.shape).copy_(rows)
        return gathered

    def _product(self, attn: Tensor, values: Tensor) -> Tensor:
        return torch.bmm(attn, values, out=self._memory("right", tuple(values.shape)))

    def _guide(self, attn: Tensor, block: _Block, tile: _Tile, seen: _Seen) -> None:
        """From A to A2, in place."""
        if block.measured is not None:
            seen.energy = seen.energy + self._squares(attn, block)
        if block.anchors is None:
            return
        anchors = block.anchors[:, :, tile.anchor_rows, tile.anchor_columns].to(self.dtype)
        anchors = anchors.reshape(-1, tile.down.shape[1], anchors.shape[3] * anchors.shape[4])
        rows = self._memory("upsampled", (anchors.shape[0], tile.down.shape[0], anchors.shape[2]))
        torch.bmm(tile.down.expand(anchors.shape[0], -1, -1), anchors, out=rows)
        rows = rows.view(-1, tile.across.shape[1], block.anchors.shape[-1])
        maps = attn.view(rows.shape[0], tile.across.shape[0], -1)
        across = tile.across.expand(rows.shape[0], -1, -1)
        if self.measure and block.measured is not None:
            difference = self._memory("difference", tuple(maps.shape)).copy_(maps)
            difference.baddbmm_(across, rows, beta=-1)
            by_map = difference.view(*block.query.shape[:2], -1, self.frames**2)[block.measured]
            seen.disparity = seen.disparity + torch.linalg.vector_norm(by_map, dim=-1).sum(-1)
        if self.guides:
            maps.baddbmm_(across, rows, beta=1 - self.config.alpha, alpha=self.config.alpha)

    def _split(self, attn: Tensor, block: _Block, seen: _Seen) -> tuple[Tensor | float, Tensor]:
        """The low and the high band of A2, in its memory."""
        if self.projector is None:
            low: Tensor | float = 1 / self.frames
            high = attn.sub_(low)
        else:
            high = self._memory("high", tuple(attn.shape))
            torch.mm(attn.view(-1, self.frames), self.projector, out=high.view(-1, self.frames))
            low = attn.sub_(high)
        if block.measured is not None:
            seen.high = seen.high + self._squares(high, block)
            if isinstance(low, Tensor):
                seen.low = seen.low + self._squares(low, block)
        return low, high

    def _squares(self, maps: Tensor, block: _Block) -> Tensor:
        """The sums of the squares of the conditional maps, (videos,)."""
        norms: Tensor = torch.linalg.vector_norm(maps.view(*block.query.shape[:2], -1)[block.measured], dim=-1)
        return norms.square()

    def _beta(self, seen: _Seen) -> Tensor:
        return method.adaptive_beta(*self._energies(seen), self.config.beta, self.config.beta_rule)

    def _energies(self, seen: _Seen) -> tuple[Tensor, Tensor, Tensor]:
        """Of A, and of the low and the high band of A2."""
        assert isinstance(seen.energy, Tensor)
        assert isinstance(seen.high, Tensor)
        rows = self.pixels * self.heads * self.frames
        energy, high = seen.energy / rows, seen.high / rows
        return energy, seen.low / rows if isinstance(seen.low, Tensor) else torch.full_like(high, 1 / self.frames), high

    def _measures(self, seen: _Seen, beta: Tensor) -> Measures:
        energy, low, high = self._energies(seen)
        disparity = seen.disparity / (self.pixels * self.heads) if isinstance(seen.disparity, Tensor) else None
        return Measures(energy, low + beta.square() * high, disparity, beta)

    def _planes(self, anchor: Anchor) -> Tensor:
        """The anchor's maps with as many heads as the site: (parts, videos, height, width, heads * F * F)."""
        matched = method.match_heads(anchor.attn, self.heads, self.config.head_rule)
        if matched.shape[1] != self.heads:
            matched = matched.expand(-1, self.heads, -1, -1).contiguous()
        return matched.view(self.layout.parts, self.videos, *anchor.layout.height_width, -1)

    def _memory(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return _memory(name, shape, self.dtype)


def _memory(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory of a thread that all tiles of all sites use: fresh from the system it costs more than what is done in it.

    One piece for each name and dtype, as large as the largest wanted so far.
    """
    pieces: dict[Any, dict[tuple[int, ...], Tensor]] = _thread.__dict__
    views = pieces.setdefault((name, dtype), {})
    view = views.get(shape)
    if view is None:
        size = prod(shape)
        largest = max(views.values(), key=Tensor.numel, default=None)
        if largest is None or largest.numel() < size:
            views.clear()
            with torch.inference_mode(False):
                largest = torch.empty(shape, dtype=dtype, device="cpu")
        view = views[shape] = largest.view(-1)[:size].view(shape)
    return view


def _narrow(block: _Block, parts: slice, videos: slice) -> _Block:
    """Some parts, of some videos, of a block of all parts."""
    query, key, value, output = (tensor[parts, videos] for tensor in block[:4])
    kept, anchors = (None if tensor is None else tensor[parts, videos] for tensor in (block.kept, block.anchors))
    measured = block.measured
    if measured is not None:
        held = range(len(block.query))[parts]
        measured = measured - held.start if measured in held else None
    return _Block(query, key, value, output, kept, anchors, measured)


def _pixels(tensor: Tensor, tile: _Tile) -> Tensor:
    """The pixels of a tile in (parts, videos, pixels, ...)."""
    return tensor if tile.length == tensor.shape[2] else tensor.narrow(2, tile.start, tile.length)


@lru_cache(maxsize=64)
def _tiles(size: Size, anchor_size: Size, capacity: int, dtype: torch.dtype) -> tuple[_Tile, ...]:
    """A feature map in tiles of so many pixels at most."""
    (height, width), (anchor_height, anchor_width) = size, anchor_size
    down, across = _bilinear(anchor_height, height, dtype), _bilinear(anchor_width, width, dtype)
    tiles = []
    for rows in _spans(height, max(1, capacity // width)):
        for columns in _spans(width, capacity):
            start, stop = rows.start * width + columns.start, (rows.stop - 1) * width + columns.stop
            sources = _sources(rows, anchor_height, height), _sources(columns, anchor_width, width)
            weights = down[rows, sources[0]], across[columns, sources[1]]
            tiles.append(_Tile(start, stop - start, *weights, *sources))
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
        weights: Tensor = F.interpolate(identity, size=new_size, mode="linear", align_corners=False)[0]
        return weights.T.contiguous()
