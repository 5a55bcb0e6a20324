"""Enhanced temporal attention: what runs in place of a site's own attention in the active steps.

The maps of the paper are never filtered: with C the frequency filter, A3 V = A2 (C V), so the frames of V are filtered
instead (`bytheway.method`, `frequency_filter`). Where nothing guides a site (the anchor block, or alpha = 0) the energy
does not fall, beta stays at its least value, and any attention kernel will do. A site that is guided makes its map
once; energies and beta stay on the device. Projections, norms, scale, `to_out` and residual are the module's own, so
whatever was loaded into them counts. The module is a diffusers `Attention`, or any other with `heads`, `to_q`, `to_k`,
`to_v` and `to_out`, the names of the original latent diffusion; what else an `Attention` has may be missing.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway import method
from bytheway.config import ByTheWayConfig


class Layout(NamedTuple):
    """What the rows of a site's batch are: (parts, videos, height * width), outermost first.

    Attributes:
        parts: how many times each video is in the batch: 2 under classifier-free guidance.
        conditional: the part that is conditioned on the prompt.
        height_width: size of the feature map.
    """

    parts: int
    conditional: int
    height_width: tuple[int, int]

    def unfold(self, rows: Tensor) -> Tensor:
        """(rows, ...) as (parts, videos, pixels, ...)."""
        height, width = self.height_width
        unfolded: Tensor = rows.unflatten(0, (self.parts, -1, height * width))
        return unfolded


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
        keep_map: hand back the softmax map, for later sites to be guided by.
        measure: hand back energies, disparity and beta.

    Returns:
        output (rows, F, channels), map, measures.
    """
    query, key, value = _project(module, hidden_states)
    if anchor is not None and config.alpha > 0:
        output, measures = _guided(module, query, key, value, layout, config, anchor, measure)
        return Attended(_finish(module, output, hidden_states), None, measures)

    circulant = _circulant(_projector(value.shape[2], config.tau, value.device), config.beta)
    value = circulant.to(value.dtype) @ value
    if keep_map:
        attn = _softmax_map(module, query, key)
        output, kept = attn @ value, Anchor(attn, layout)
    else:
        output, kept = F.scaled_dot_product_attention(query, key, value, scale=_scale(module, query)), None
    measures = _measure(module, query, key, layout, config, config.beta, anchor) if measure else None
    return Attended(_finish(module, output, hidden_states), kept, measures)


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
    query, key, _ = _project(module, hidden_states)
    kept = Anchor(_softmax_map(module, query, key), layout) if keep_map else None
    return kept, _measure(module, query, key, layout, config, 1.0, anchor)


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
    projector = _projector(value.shape[2], config.tau, value.device)
    queries, keys, values = (layout.unfold(rows) for rows in (query, key, value))
    anchors = anchor.layout.unfold(anchor.attn)
    outputs, measures = [], []
    for video in range(queries.shape[1]):
        attn = _softmax_map(module, queries[:, video], keys[:, video])
        reference = _resample(anchors[:, video], anchor.layout, layout, attn.shape[2], config)
        energy = method.attention_energy(attn[None, layout.conditional])
        apart = method.disparity(*(maps[None, layout.conditional] for maps in (attn, reference))) if measure else None
        attn = torch.lerp(attn, reference, config.alpha)
        low, high = _band_energy(attn[None, layout.conditional], projector)
        beta = method.adaptive_beta(energy, low, high, config.beta, config.beta_rule)
        circulant = _circulant(projector, beta)
        outputs.append(attn @ (circulant.to(value.dtype) @ values[:, video]))
        if measure:
            measures.append(Measures(energy, low + beta.square() * high, apart, beta))
    return torch.stack(outputs, dim=1).flatten(0, 2), _join(measures) if measure else None


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
    projector = _projector(query.shape[2], config.tau, query.device)
    queries, keys = (layout.unfold(rows)[layout.conditional] for rows in (query, key))
    measures = []
    for video in range(len(queries)):
        attn = _softmax_map(module, queries[video], keys[video])[None]
        low, high = _band_energy(attn, projector)
        apart = None
        if anchor is not None:
            anchors = anchor.layout.unfold(anchor.attn)[None, anchor.layout.conditional, video]
            apart = method.disparity(attn, _resample(anchors, anchor.layout, layout, attn.shape[2], config))
        measures.append(Measures(low + high, low + beta**2 * high, apart, torch.full_like(high, beta)))
    return _join(measures)


def _join(measures: Sequence[Measures]) -> Measures:
    """The measures of single videos as those of all."""
    apart = [one.disparity for one in measures if one.disparity is not None]
    return Measures(
        torch.cat([one.energy for one in measures]),
        torch.cat([one.energy_after for one in measures]),
        torch.cat(apart) if apart else None,
        torch.cat([one.beta for one in measures]),
    )


def _project(module: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value by the module's own projections and norms, each (rows, heads, F, channels of a head)."""
    group_norm, norm_q, norm_k = (getattr(module, name, None) for name in ("group_norm", "norm_q", "norm_k"))
    if group_norm is not None:
        hidden_states = group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
    query, key, value = (
        projection(hidden_states).unflatten(-1, (module.heads, -1)).transpose(1, 2)
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
    return output.div(getattr(module, "rescale_output_factor", 1.0))


def _resample(maps: Tensor, made_at: Layout, wanted_at: Layout, heads: int, config: ByTheWayConfig) -> Tensor:
    return method.resample_map(maps, made_at.height_width, wanted_at.height_width, heads, config.head_rule)


def _band_energy(attn: Tensor, projector: Tensor) -> tuple[Tensor, Tensor]:
    """Energies of the low and the high band, (videos,) each, of maps (videos, pixels, heads, F, F)."""
    with torch.autocast(attn.device.type, enabled=False):
        high = method.attention_energy(attn.to(projector.dtype) @ projector)
    return method.attention_energy(attn) - high, high


def _circulant(projector: Tensor, beta: float | Tensor) -> Tensor:
    """C = I + (beta - 1) P, (F, F)."""
    return torch.eye(len(projector), device=projector.device) + (beta - 1) * projector


@lru_cache(maxsize=32)
def _projector(num_frames: int, tau: int, device: torch.device) -> Tensor:
    """P, (F, F), float32: keeps the high band and nothing else. Made once, so that no step waits for a copy."""
    with torch.inference_mode(False):
        identity = torch.eye(num_frames, device=device)
        return identity - method.frequency_filter(num_frames, tau, 0.0, device=device)
