"""The attention of a module: from its hidden states to query, key and value, attended to, and back.

Projections, norms, scale, `to_out` and residual are the module's own, so whatever was loaded into them counts. The
module is a diffusers `Attention`, or any other with `heads`, `to_q`, `to_k`, `to_v` and `to_out`, the names of the
original latent diffusion; what else an `Attention` has may be missing.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Attended, Measures
from bytheway.attention.site import attend, observe
from bytheway.attention.whole import Softmax
from bytheway.config import ByTheWayConfig


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
    """What runs in place of a module's own attention over frames in the active steps: `attend` for a module.

    Args:
        hidden_states: (rows, F, channels).
        layout, config, anchor, keep_map, measure: see `attend`.

    Returns:
        output (rows, F, channels), maps, measures.
    """
    query, key, value = _project(module, hidden_states)
    attended = attend(
        query,
        key,
        value,
        layout,
        config,
        scale=_scale(module, query),
        anchor=anchor,
        keep_map=keep_map,
        measure=measure,
        softmax=_own_softmax(module),
    )
    return attended._replace(output=_project_back(module, attended.output, hidden_states))


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
    """The same measures where the method is off: the maps are made beside the module's own attention.

    Args as in `enhanced_attention`, returns as in `observe`.
    """
    query, key, _ = _project(module, hidden_states)
    return observe(
        query,
        key,
        layout,
        config,
        scale=_scale(module, query),
        anchor=anchor,
        keep_map=keep_map,
        softmax=_own_softmax(module),
    )


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


def _scale(module: Any, query: Tensor) -> float:
    """That of the scores: the module's own, else 1 / sqrt(channels of a head)."""
    return float(getattr(module, "scale", query.shape[-1] ** -0.5))


def _own_softmax(module: Any) -> Softmax | None:
    """How a module makes its maps in a way of its own; None: as diffusers does, with a scale and a precision."""
    if not _has_own_softmax(type(module)):
        return None

    def softmax(query: Tensor, key: Tensor) -> Tensor:
        attn: Tensor = module.get_attention_scores(query.flatten(0, -3), key.flatten(0, -3))
        return attn.view(*query.shape[:-1], key.shape[-2])

    return softmax


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # the compiler sees no __module__
def _has_own_softmax(attention: type) -> bool:
    scores = getattr(attention, "get_attention_scores", None)
    return scores is not None and not scores.__module__.startswith("diffusers.")


def _project_back(module: Any, output: Tensor, hidden_states: Tensor) -> Tensor:
    """Heads joined, then the module's `to_out`, residual and rescaling: (rows, F, channels)."""
    output = output.transpose(1, 2).flatten(2)
    for layer in module.to_out if isinstance(module.to_out, Iterable) else [module.to_out]:
        output = layer(output)
    if getattr(module, "residual_connection", False):
        output = output + hidden_states
    factor = getattr(module, "rescale_output_factor", 1.0)
    return output if factor == 1.0 else output / factor
