"""Enhanced temporal attention: what runs in place of a site's own attention in the active steps.

On a CPU everything is done in tiles (`bytheway.attention.tiles`), and on GPUs that have Triton what is guided by a
kernel (`bytheway.attention.triton`). Otherwise, and where gradients are to flow, the maps of the paper are never
filtered: with C the frequency filter, A3 V = A2 (C V), so the frames of V are filtered instead (`bytheway.method`,
`frequency_filter`). Where nothing guides a site (the anchor block, or alpha = 0) the energy does not fall, beta stays
at its least value, and any attention kernel will do. A site that is guided makes its map once; energies and beta stay
on the device. Under torch.compile this is the form that is traced: without a break in the graph, and for the compiler
to fuse.

Projections, norms, scale, `to_out` and residual are the module's own, so whatever was loaded into them counts. The
module is a diffusers `Attention`, or any other with `heads`, `to_q`, `to_k`, `to_v` and `to_out`, the names of the
original latent diffusion; what else an `Attention` has may be missing.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway import method
from bytheway.attention import tiles
from bytheway.attention import triton as kernels
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Measures, join, projector
from bytheway.config import ByTheWayConfig


class Attended(NamedTuple):
    """Output of a site, with its map where it was to be kept and its measures where they were asked for."""

    output: Tensor
    anchor: Anchor | None
    measures: Measures | None


def enhanced_attention(
    module: Any,
    hidden_states: Tensor,
    layout: Layout,
    config: ByTheWayConfig,
    *,
    anchor: Anchor | None = None,
    keep_map: bool = False,
    measure: bool = False,
) -> Attended:
    """An attention over frames, enhanced by ByTheWay.

    Args:
        hidden_states: (rows, F, channels).
        anchor: map of the corresponding site in the anchor block; None in the anchor block itself.
        keep_map: hand back the softmax map of a site that is not guided, for later sites to be guided by.
        measure: hand back energies, disparity and beta.

    Returns:
        output (rows, F, channels), map, measures.
    """
    query, key, value = _project(module, hidden_states)
    guide = anchor if config.alpha > 0 else None
    fused = _is_fusible(module)
    if guide is not None and fused and kernels.serves(query, key, value, guide.attn):
        from bytheway.attention.triton.guided import guided_attention

        output, seen = guided_attention(query, key, value, layout, guide, _scale(module, query), config)
        return Attended(_finish(module, output, hidden_states), None, seen if measure else None)
    if fused and tiles.serves(query, key, value):
        output, kept, measures = _tiled(
            module, query, key, value, layout, config, anchor, keep_map and guide is None, measure
        )
        return Attended(_finish(module, output, hidden_states), kept, measures)
    if guide is not None:
        output, measures = _guided(module, query, key, value, layout, config, guide, measure)
        return Attended(_finish(module, output, hidden_states), None, measures)

    circulant = _circulant(_projector(value, config), config.beta)
    value = _filtered(circulant, value)
    if keep_map:
        attn = _softmax_map(module, query, key)
        output, kept = attn @ value, Anchor(attn, layout)
    else:
        output, kept = F.scaled_dot_product_attention(query, key, value, scale=_scale(module, query)), None
    measures = _measure(module, query, key, layout, config, config.beta, anchor) if measure else None
    return Attended(_finish(module, output, hidden_states), kept, measures)


@torch.no_grad()
def observe_attention(
    module: Any,
    hidden_states: Tensor,
    layout: Layout,
    config: ByTheWayConfig,
    *,
    anchor: Anchor | None = None,
    keep_map: bool = False,
) -> tuple[Anchor | None, Measures]:
    """The same measures where the method is off: the map is made beside the module's own attention.

    Args and returns as in `enhanced_attention`, without an output.
    """
    query, key, value = _project(module, hidden_states)
    if _is_fusible(module) and tiles.serves(query, key, value):
        off = config.replace(alpha=0.0, beta=1.0)
        _, kept, measures = _tiled(module, query, key, value, layout, off, anchor, keep_map, measure=True)
        assert measures is not None
        return kept, measures
    kept = Anchor(_softmax_map(module, query, key), layout) if keep_map else None
    return kept, _measure(module, query, key, layout, config, 1.0, anchor)


def _tiled(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    config: ByTheWayConfig,
    anchor: Anchor | None,
    keep_map: bool,
    measure: bool,
) -> tuple[Tensor, Anchor | None, Measures | None]:
    """Output (rows, heads, F, channels of a head), map and measures, all made in tiles."""
    maps = query.new_empty(*query.shape[:-1], key.shape[-2]) if keep_map else None
    site = tiles.TiledSite(query, key, value, layout, _scale(module, query), config, anchor, measure=measure)
    measures = site.attend(maps)
    return site.output, None if maps is None else Anchor(maps, layout), measures


def _guided(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    config: ByTheWayConfig,
    anchor: Anchor,
    measure: bool,
) -> tuple[Tensor, Measures | None]:
    """Temporal Self-Guidance and Motion Enhancement, video by video: no more than one video's maps exist at a time."""
    band = _projector(value, config)
    queries, keys, values = (layout.unfold(rows) for rows in (query, key, value))
    anchors = anchor.layout.unfold(anchor.attn)
    outputs, measures = [], []
    for video in range(queries.shape[1]):
        attn = _softmax_map(module, queries[:, video], keys[:, video])
        reference = _resample(anchors[:, video], anchor.layout, layout, attn.shape[2], config)
        energy = method.attention_energy(attn[None, layout.conditional])
        disparity = (
            method.disparity(*(maps[None, layout.conditional] for maps in (attn, reference))) if measure else None
        )
        attn = torch.lerp(attn, reference, config.alpha)
        low, high = _band_energy(attn[None, layout.conditional], band)
        beta = method.adaptive_beta(energy, low, high, config.beta, config.beta_rule)
        circulant = _circulant(band, beta)
        outputs.append(attn @ _filtered(circulant, values[:, video]))
        if measure:
            measures.append(Measures(energy, low + beta.square() * high, disparity, beta))
    return torch.stack(outputs, dim=1).flatten(0, 2), join(measures) if measure else None


def _measure(
    module: Any,
    query: Tensor,
    key: Tensor,
    layout: Layout,
    config: ByTheWayConfig,
    beta: float,
    anchor: Anchor | None,
) -> Measures:
    """The measures of a site that is not guided, from its conditional maps, video by video."""
    band = _projector(query, config)
    queries, keys = (layout.unfold(rows)[layout.conditional] for rows in (query, key))
    measures = []
    for video in range(len(queries)):
        attn = _softmax_map(module, queries[video], keys[video])[None]
        low, high = _band_energy(attn, band)
        disparity = None
        if anchor is not None:
            anchors = anchor.layout.unfold(anchor.attn)[None, anchor.layout.conditional, video]
            disparity = method.disparity(attn, _resample(anchors, anchor.layout, layout, attn.shape[2], config))
        measures.append(Measures(low + high, low + beta**2 * high, disparity, torch.full_like(high, beta)))
    return join(measures)


def _project(module: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value by the module's own projections and norms, each (rows, heads, F, channels of a head)."""
    group_norm, norm_q, norm_k = (getattr(module, name, None) for name in ("group_norm", "norm_q", "norm_k"))
    if group_norm is not None:
        hidden_states = group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
    query, key, value = (
        projection(hidden_states).view(*hidden_states.shape[:2], module.heads, -1).transpose(1, 2)
        for projection in (module.to_q, module.to_k, module.to_v)
    )
    if norm_q is not None:
        query = norm_q(query)
    if norm_k is not None:
        key = norm_k(key)
    return query, key, value


def _softmax_map(module: Any, query: Tensor, key: Tensor) -> Tensor:
    """(..., F, F), with the scale and the precision that the module asks for."""
    if hasattr(module, "get_attention_scores"):
        attn: Tensor = module.get_attention_scores(query.flatten(0, -3), key.flatten(0, -3))
        return attn.view(*query.shape[:-1], key.shape[-2])
    return (query @ key.transpose(-1, -2) * _scale(module, query)).softmax(-1)


def _has_own_softmax(module: Any) -> bool:
    """Whether the module makes its maps in a way of its own; diffusers' way differs by scale and precision only."""
    scores = getattr(type(module), "get_attention_scores", None)
    return scores is not None and not scores.__module__.startswith("diffusers.")


def _is_fusible(module: Any) -> bool:
    """Whether tiles or kernels may make the maps; under torch.compile it is the compiler that fuses."""
    return not torch.compiler.is_compiling() and not _has_own_softmax(module)


def _scale(module: Any, query: Tensor) -> float:
    """The module's own, else 1 / sqrt(channels of a head)."""
    return float(getattr(module, "scale", query.shape[-1] ** -0.5))


def _finish(module: Any, output: Tensor, hidden_states: Tensor) -> Tensor:
    """Heads joined, then the module's `to_out`, residual and rescaling: (rows, F, channels)."""
    output = output.transpose(1, 2).flatten(2)
    for layer in module.to_out if isinstance(module.to_out, Iterable) else [module.to_out]:
        output = layer(output)
    if getattr(module, "residual_connection", False):
        output = output + hidden_states
    factor = getattr(module, "rescale_output_factor", 1.0)
    return output if factor == 1.0 else output / factor


def _resample(maps: Tensor, made_at: Layout, wanted_at: Layout, heads: int, config: ByTheWayConfig) -> Tensor:
    return method.resample_map(maps, made_at.height_width, wanted_at.height_width, heads, config.head_rule)


def _band_energy(attn: Tensor, band: Tensor) -> tuple[Tensor, Tensor]:
    """Energies of the low and the high band, (videos,) each, of maps (videos, pixels, heads, F, F)."""
    with torch.autocast(attn.device.type, enabled=False):
        high = method.attention_energy(attn.to(band.dtype) @ band)
    return method.attention_energy(attn) - high, high


def _circulant(band: Tensor, beta: float | Tensor) -> Tensor:
    """C = I + (beta - 1) P, (F, F)."""
    return torch.eye(len(band), device=band.device) + (beta - 1) * band


def _filtered(circulant: Tensor, value: Tensor) -> Tensor:
    """C V, as exact as the precision of V allows.

    In half precision C takes two numbers for each of its own: rounded to one, its rows no longer sum to 1, and the mean
    over the frames is scaled.
    """
    coarse = circulant.to(value.dtype)
    filtered = coarse @ value
    return filtered if coarse.dtype == circulant.dtype else filtered + (circulant - coarse).to(value.dtype) @ value


def _projector(rows: Tensor, config: ByTheWayConfig) -> Tensor:
    """P for the frames of (..., F, channels), in float32."""
    # The compiler keeps no cache, and warns of those that it finds.
    make = projector.__wrapped__ if torch.compiler.is_compiling() else projector
    return make(rows.shape[-2], config.tau, torch.float32, rows.device)
