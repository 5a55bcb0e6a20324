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
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bytheway import method
from bytheway.attention.feature_map import Tile, tiles_of
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Attended, Measures, join
from bytheway.config import ByTheWayConfig

# What one thread works on at a time: the maps of a tile, and two of its query, key, value and output.
TILE_BYTES = 4 << 20
# More threads share what this many have: their memory stays for the life of the thread that calls.
MOST_SHARES = 8

_thread = threading.local()


def supports(*tensors: Tensor) -> bool:
    """Whether a site with this query, key and value can be attended to in tiles."""
    gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return tensors[0].device.type == "cpu" and not gradient


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    anchor: Anchor | None,
    scale: float,
    config: ByTheWayConfig,
    *,
    keep_map: bool,
    measure: bool,
) -> Attended:
    """Attention of a site, guided where there is an anchor and config.alpha > 0.

    Args:
        query, key, value: (rows, heads, F, channels of a head).
        anchor: guides the maps, and is what their disparity refers to.
        scale: of the scores.
        keep_map: hand back the softmax maps.
        measure: hand back energies, disparity and beta.

    Returns:
        the output in memory with the heads next to their channels.
    """
    site = TiledSite(query, key, value, layout, anchor, scale, config, measure=measure)
    maps = query.new_empty(*query.shape[:-1], key.shape[-2]) if keep_map else None
    measures = site.attend(maps)
    return Attended(site.output, None if maps is None else Anchor(maps, layout), measures)


class _Batch(NamedTuple):
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
    """One call of one site, of which `attend` tells the arguments.

    Attributes:
        output: (rows, heads, F, channels of a head), in memory with the heads next to their channels.
    """

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: Layout,
        anchor: Anchor | None,
        scale: float,
        config: ByTheWayConfig,
        *,
        measure: bool = False,
    ) -> None:
        rows, self.heads, self.frames, channels = query.shape
        self.query, self.key, self.value, self.layout = query, key, value, layout
        self.scale, self.config, self.measure = scale, config, measure
        self.dtype = torch.promote_types(query.dtype, torch.float32)
        self.output = value.new_empty(rows, self.frames, self.heads, value.shape[-1]).transpose(1, 2)
        self.projector: Tensor | None = None
        if not method.only_dc_is_low(self.frames, config.tau):
            self.projector = method.projector(self.frames, config.tau, dtype=self.dtype, device=query.device)
        self.guides = anchor is not None and config.alpha > 0
        self.anchor = anchor if self.guides or measure else None

        height, width = layout.height_width
        self.pixels = height * width
        self.videos = rows // (layout.parts * self.pixels)
        bytes_per_pixel = self.heads * self.frames * (self.frames + 2 * channels) * self.dtype.itemsize
        capacity = max(1, min(torch.get_num_threads(), MOST_SHARES) * TILE_BYTES // bytes_per_pixel)
        self.videos_per_tile = capacity // (layout.parts * self.pixels)
        anchor_size = (1, 1) if self.anchor is None else self.anchor.layout.height_width
        self.tiles = tiles_of(layout.height_width, anchor_size, min(capacity, self.pixels), self.dtype)
        self._memories: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def attend(self, keep: Tensor | None = None) -> Measures | None:
        """Fill the output, with the beta of the config, or where the anchor guides with that of each video.

        Args:
            keep: (rows, heads, F, F), where to put the softmax maps.
        """
        shape = (self.layout.parts, self.videos, self.pixels)
        query, key, value, output = (
            tensor.view(*shape, *tensor.shape[1:]) for tensor in (self.query, self.key, self.value, self.output)
        )
        everything = _Batch(
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

    def _attend_videos(self, batch: _Batch) -> tuple[_Seen, Tensor]:
        """Attend with the maps of as many videos as a tile holds, or of one; returns their beta."""
        seen = _Seen()
        beta = (
            None if self.guides else batch.query.new_full((batch.query.shape[1],), self.config.beta, dtype=self.dtype)
        )
        if self.videos_per_tile:
            return seen, self._attend_batch(batch, seen, beta)
        parts = [_narrow(batch, slice(part, part + 1), slice(None)) for part in range(self.layout.parts)]
        if beta is None:
            beta = self._attend_conditional(parts.pop(self.layout.conditional), seen)
        for part in parts:
            self._attend_batch(part, seen, beta)
        return seen, beta

    def _attend_batch(self, batch: _Batch, seen: _Seen, beta: Tensor | None) -> Tensor:
        """Attend to some videos; beta may be unknown where they are a single tile."""
        for tile in self.tiles:
            attn = self._softmax_maps(batch, tile)
            if batch.kept is not None:
                _pixels(batch.kept, tile).copy_(attn.view(*batch.kept.shape[:2], tile.length, *batch.kept.shape[3:]))
            self._guide(attn, batch, tile, seen)
            low, high = self._split(attn, batch, seen)
            if beta is None:
                beta = self._beta(seen)
            by_video = high.view(*batch.query.shape[:2], -1)
            by_video.mul_(beta[:, None]).add_(low if isinstance(low, float) else low.view_as(by_video))
            output = _pixels(batch.output, tile)
            output.copy_(self._product(high, self._gather(batch.value, tile, "left")).view(output.shape))
        assert beta is not None
        return beta

    def _attend_conditional(self, batch: _Batch, seen: _Seen) -> Tensor:
        """Attend with the conditional maps of a video, whose beta, (1,), is known only after all of them."""
        shape = list(batch.value.shape)
        shape[-2] = 1 if self.projector is None else self.frames
        lows = self.value.new_empty(shape)
        for tile in self.tiles:
            attn = self._softmax_maps(batch, tile)
            self._guide(attn, batch, tile, seen)
            low, high = self._split(attn, batch, seen)
            values = self._gather(batch.value, tile, "left")
            output, low_output = _pixels(batch.output, tile), _pixels(lows, tile)
            output.copy_(self._product(high, values).view(output.shape))
            low_values = values.mean(-2) if isinstance(low, float) else self._product(low, values)
            low_output.copy_(low_values.view(low_output.shape))
        beta = self._beta(seen)
        if lows.dtype == self.dtype:
            torch.addcmul(lows, batch.output, beta, out=batch.output)
        else:
            self._add_up(lows, batch.output, beta)
        return beta

    def _add_up(self, lows: Tensor, output: Tensor, beta: Tensor) -> None:
        """lows + beta * output into the output, tile by tile: in half precision beta would not be that of all parts."""
        for tile in self.tiles:
            rows = _pixels(output, tile).transpose(-3, -2)
            wide = self._memory("rows", rows.shape).copy_(rows)
            rows.copy_(wide.mul_(beta).add_(_pixels(lows, tile).transpose(-3, -2)))

    def _softmax_maps(self, batch: _Batch, tile: Tile) -> Tensor:
        """A, (maps, F, F)."""
        query, key = self._gather(batch.query, tile, "left"), self._gather(batch.key, tile, "right")
        attn = self._memory("maps", (query.shape[0], self.frames, self.frames))
        # Nothing of what was in the memory gets into it with beta=0.
        attn.baddbmm_(query, key.mT, beta=0, alpha=self.scale)
        return torch.softmax(attn, -1, out=attn)

    def _gather(self, tensor: Tensor, tile: Tile, name: str) -> Tensor:
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

    def _guide(self, attn: Tensor, batch: _Batch, tile: Tile, seen: _Seen) -> None:
        """From A to A2, in place."""
        if batch.measured is not None:
            seen.energy = seen.energy + self._squares(attn, batch)
        if batch.anchors is None:
            return
        anchors = batch.anchors[:, :, tile.anchor_rows, tile.anchor_columns].to(self.dtype)
        anchors = anchors.reshape(-1, tile.down.shape[1], anchors.shape[3] * anchors.shape[4])
        rows = self._memory("upsampled", (anchors.shape[0], tile.down.shape[0], anchors.shape[2]))
        torch.bmm(tile.down.expand(anchors.shape[0], -1, -1), anchors, out=rows)
        rows = rows.view(-1, tile.across.shape[1], batch.anchors.shape[-1])
        maps = attn.view(rows.shape[0], tile.across.shape[0], -1)
        across = tile.across.expand(rows.shape[0], -1, -1)
        if self.measure and batch.measured is not None:
            parts, videos = batch.query.shape[:2]
            own, upsampled = (one.view(parts, -1, *one.shape[1:])[batch.measured] for one in (maps, rows))
            difference = self._memory("difference", tuple(own.shape)).copy_(own)
            difference.baddbmm_(across[: len(own)], upsampled, beta=-1)
            by_map = difference.view(videos, -1, self.frames**2)
            seen.disparity = seen.disparity + torch.linalg.vector_norm(by_map, dim=-1).sum(-1)
        if self.guides:
            maps.baddbmm_(across, rows, beta=1 - self.config.alpha, alpha=self.config.alpha)

    def _split(self, attn: Tensor, batch: _Batch, seen: _Seen) -> tuple[Tensor | float, Tensor]:
        """The low and the high band of A2, in its memory."""
        if self.projector is None:
            low: Tensor | float = 1 / self.frames
            high = attn.sub_(low)
        else:
            high = self._memory("high", tuple(attn.shape))
            torch.mm(attn.view(-1, self.frames), self.projector, out=high.view(-1, self.frames))
            low = attn.sub_(high)
        if batch.measured is not None:
            seen.high = seen.high + self._squares(high, batch)
            if isinstance(low, Tensor):
                seen.low = seen.low + self._squares(low, batch)
        return low, high

    def _squares(self, maps: Tensor, batch: _Batch) -> Tensor:
        """The sums of the squares of the conditional maps, (videos,)."""
        norms: Tensor = torch.linalg.vector_norm(maps.view(*batch.query.shape[:2], -1)[batch.measured], dim=-1)
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


def release_memory() -> None:
    """Give back the scratch memory of the present thread, which is going to wait for others; it is made anew."""
    _thread.__dict__.clear()


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


def _narrow(batch: _Batch, parts: slice, videos: slice) -> _Batch:
    """Some parts of some videos of a batch."""
    query, key, value, output = (tensor[parts, videos] for tensor in batch[:4])
    kept, anchors = (None if tensor is None else tensor[parts, videos] for tensor in (batch.kept, batch.anchors))
    measured = batch.measured
    if measured is not None:
        held = range(len(batch.query))[parts]
        measured = measured - held.start if measured in held else None
    return _Batch(query, key, value, output, kept, anchors, measured)


def _pixels(tensor: Tensor, tile: Tile) -> Tensor:
    """The pixels of a tile in (parts, videos, pixels, ...)."""
    return tensor if tile.length == tensor.shape[2] else tensor.narrow(2, tile.start, tile.length)
