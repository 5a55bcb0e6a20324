"""The temporal attention maps of a run, made small enough to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bytheway.attention.layout import Layout
from bytheway.attention.projections import observe_attention
from bytheway.config import ByTheWayConfig
from bytheway.families.known import denoiser_of
from bytheway.families.pipeline import Model
from bytheway.families.sites import find_sites

Maps = NDArray[np.float32]


@contextmanager
def watch_maps(model: Model, config: ByTheWayConfig, *, guided: bool, calls: int) -> Iterator[dict[str, list[Maps]]]:
    """Keep the maps of the first site of the anchor and of each guided block while the block runs.

    They are A, as the model makes them, whether the method is on or off.

    Args:
        model: a pipeline of one clip at a time, or its denoiser.
        config: tells the blocks.
        guided: whether the batch is an unconditional half and a conditional one, whose maps are kept.
        calls: how many of the denoiser are looked at, from the first on.

    Returns:
        by block, a map for each call, (F, F): rows are queries and sum to 1, a mean over pixels and heads.
    """
    denoiser = denoiser_of(model)
    first = {site.block: site for site in reversed(find_sites(denoiser, config)) if site.role != "observed"}
    kept: dict[str, list[Maps]] = {block: [] for block in reversed(first)}

    def keep(block: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(kept[block]) < calls:
            hidden_states = args[0] if args else kwargs["hidden_states"]
            kept[block].append(_mean_map(module, hidden_states, config, guided))

    with ExitStack() as hooks:
        for block, site in first.items():
            handle = site.module.register_forward_pre_hook(partial(keep, block), with_kwargs=True)
            hooks.callback(handle.remove)
        yield kept


@torch.no_grad()
def _mean_map(module: nn.Module, hidden_states: Tensor, config: ByTheWayConfig, guided: bool) -> Maps:
    """The mean over pixels and heads of the conditional maps."""
    parts = 1 + guided
    layout = Layout(parts, parts - 1, (1, len(hidden_states) // parts))
    anchor, _ = observe_attention(module, hidden_states, layout, config, keep_map=True)
    assert anchor is not None
    maps = layout.unfold(anchor.attn)[layout.conditional]
    mean: Maps = maps.float().flatten(0, -3).mean(0).cpu().numpy()
    return mean
