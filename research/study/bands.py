"""Temporal attention of which only one band of frequencies is left, or one is amplified (the paper's Figure 5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bytheway.config import ByTheWayConfig
from bytheway.families.known import denoiser_of
from bytheway.families.sites import find_sites
from bytheway.method import frequency_filter
from research.study.variants import Band


def band_filter(band: Band, num_frames: int, config: ByTheWayConfig) -> Tensor:
    """The circulant C, (F, F), that leaves of a map A in A C the low band, the high one, or both with one amplified.

    DC counts as low, so rows of a map sum to 1 under "low" and "amplified", and to 0 under "high".
    """
    if band == "amplified":
        return frequency_filter(num_frames, config.tau, config.beta)
    low_pass = frequency_filter(num_frames, config.tau, 0.0)
    return low_pass if band == "low" else torch.eye(num_frames) - low_pass


@contextmanager
def filtered_attention(pipe: Any, band: Band, config: ByTheWayConfig) -> Iterator[None]:
    """Filter the maps of the decoder's temporal self-attentions in all steps, by the frames of V: (A C) V = A (C V)."""

    def filter_frames(module: nn.Module, inputs: tuple[Any, ...], value: Tensor) -> Tensor:
        circulant = band_filter(band, value.shape[1], config)
        return circulant.to(value) @ value

    sites = find_sites(denoiser_of(pipe), config)
    decoder = [site.module for site in sites if site.block.startswith("up_blocks.")]
    handles = [module.get_submodule("to_v").register_forward_hook(filter_frames) for module in decoder]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
