"""Temporal attention with whole maps, in the functions of `bytheway.method`: the paper as it is written.

This is the form that devices without kernels run, that gradients flow through and that torch.compile traces, without a
break in the graph and for the compiler to fuse. Videos are attended to one after the other: no more than one video's
maps exist at a time, and none depends on the others bit for bit. Maps are float32 (float64 for float64 tensors), the
precision that any module may ask of its softmax.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from bytheway import method
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Attended, Measures, join
from bytheway.config import ByTheWayConfig

# Makes maps (..., F, F), rows summing to 1, from query and key (..., F, channels of a head).
Softmax = Callable[[Tensor, Tensor], Tensor]


def softmax_maps(query: Tensor, key: Tensor, scale: float, softmax: Softmax | None) -> Tensor:
    """A = softmax(scale Q K^T), (..., F, F), or what `softmax` makes in its place, in float32 at least."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    if softmax is not None:
        return softmax(query, key).to(dtype)
    with torch.autocast(query.device.type, enabled=False):
        return (query.to(dtype) @ key.to(dtype).mT * scale).softmax(-1)


def apply_maps(attn: Tensor, value: Tensor) -> Tensor:
    """A V, multiplied in the precision of the maps and rounded once, to that of V."""
    with torch.autocast(value.device.type, enabled=False):
        return (attn @ value.to(attn.dtype)).to(value.dtype)


def guided_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    anchor: Anchor,
    scale: float,
    config: ByTheWayConfig,
    *,
    softmax: Softmax | None = None,
    measure: bool = False,
) -> Attended:
    """Temporal Self-Guidance and Motion Enhancement, as in `method.bytheway_map`: A3 V.

    Args:
        query, key, value: (rows, heads, F, channels of a head).
        anchor: of the same parts and videos.
        scale: of the scores.
        softmax: makes the maps in its own way.
        measure: hand back energies, disparity and beta.
    """
    queries, keys, values = (layout.unfold(rows) for rows in (query, key, value))
    anchors = anchor.layout.unfold(anchor.attn)
    conditional = slice(layout.conditional, layout.conditional + 1)
    outputs, measures = [], []
    for video in range(queries.shape[1]):
        attn = softmax_maps(queries[:, video], keys[:, video], scale, softmax)
        reference = _resample(anchors[:, video], anchor.layout, layout, attn, config)
        guided = method.self_guide(attn, reference, config.alpha)
        energy = method.attention_energy(attn[conditional])
        low, high = method.band_energy(guided[conditional], config.tau)
        beta = method.adaptive_beta(energy, low, high, config.beta, config.beta_rule)
        enhanced = method.enhance_motion(guided, beta.expand(layout.parts), config.tau)
        outputs.append(apply_maps(enhanced, values[:, video]))
        if measure:
            disparity = method.disparity(attn[conditional], reference[conditional])
            measures.append(Measures(energy, low + beta.square() * high, disparity, beta))
    return Attended(torch.stack(outputs, dim=1).flatten(0, 2), None, join(measures) if measure else None)


def measure_maps(
    query: Tensor,
    key: Tensor,
    layout: Layout,
    anchor: Anchor | None,
    scale: float,
    config: ByTheWayConfig,
    *,
    softmax: Softmax | None = None,
) -> Measures:
    """What is seen at a site that is not guided, whose beta is that of the config.

    Args:
        query, key: (rows, heads, F, channels of a head).
        anchor: what the disparity of the maps refers to.
        scale: of the scores.
        softmax: makes the maps in its own way.
    """
    queries, keys = (layout.unfold(rows)[layout.conditional] for rows in (query, key))
    measures = []
    for video in range(len(queries)):
        attn = softmax_maps(queries[video], keys[video], scale, softmax)[None]
        low, high = method.band_energy(attn, config.tau)
        disparity = None
        if anchor is not None:
            maps = anchor.layout.unfold(anchor.attn)[None, anchor.layout.conditional, video]
            disparity = method.disparity(attn, _resample(maps, anchor.layout, layout, attn, config))
        beta = torch.full_like(high, config.beta)
        measures.append(Measures(method.attention_energy(attn), low + beta.square() * high, disparity, beta))
    return join(measures)


def _resample(maps: Tensor, made_at: Layout, wanted_at: Layout, attn: Tensor, config: ByTheWayConfig) -> Tensor:
    """U(A_1), in the shape and the precision of the maps of one video."""
    return method.resample_map(
        maps.to(attn.dtype), made_at.height_width, wanted_at.height_width, attn.shape[2], config.head_rule
    )
