"""Clips of prompts under a variant, as latents: small to keep, and decoded again whenever a measure is made anew."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AnimateDiffPipeline
from torch import Tensor

from bytheway import enhanced, observe
from bytheway.apply.api import Run
from bytheway.generation.free_init import free_init
from bytheway.models import load
from bytheway.record import Record
from research.diorama.architecture import NUM_FRAMES
from research.diorama.sample import GUIDANCE, STEPS
from research.study.bands import filtered_attention
from research.study.variants import PAPER, Variant

Arrays = dict[str, np.ndarray]
RECORDED = ("energy", "energy_after", "disparity", "beta")


@dataclass(frozen=True)
class Sampling:
    """What is the same for every clip; clip i has seed + i."""

    seed: int = 20_000
    steps: int = STEPS
    guidance: float = GUIDANCE

    def generators(self, first: int, stop: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(self.seed + number) for number in range(first, stop)]


def open_pipeline(source: str, device: torch.device) -> AnimateDiffPipeline:
    """The pipeline of a packaged model or of a folder, silent."""
    pipe = load(source, device=device, dtype="float32")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def denoise(pipe: AnimateDiffPipeline, texts: Sequence[str], sampling: Sampling, **settings: Any) -> Tensor:
    """Latents (n, C, F, h, w), under bfloat16 autocast where that is faster; `settings` go to the pipeline."""
    with _half(pipe):
        latents: Tensor = pipe(
            list(texts),
            num_frames=NUM_FRAMES,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            output_type="latent",
            **settings,
        ).frames
    return latents


def sample(pipe: AnimateDiffPipeline, variant: Variant, texts: Sequence[str], first: int, sampling: Sampling) -> Tensor:
    """The latents of the prompts numbered from `first` on, each from its own seed."""
    generators = sampling.generators(first, first + len(texts))
    with _treated(pipe, variant, record=False):
        return denoise(pipe, texts, sampling, generator=generators)


def sample_recorded(
    pipe: AnimateDiffPipeline, variant: Variant, texts: Sequence[str], first: int, sampling: Sampling
) -> tuple[Tensor, Arrays]:
    """The same with what was measured on the way: see `as_arrays`. Vanilla is observed in all steps."""
    generators = sampling.generators(first, first + len(texts))
    with _treated(pipe, variant, record=True) as run:
        latents = denoise(pipe, texts, sampling, generator=generators)
    assert run is not None
    assert run.record is not None
    return latents, as_arrays(run.record)


def as_arrays(record: Record) -> Arrays:
    """A record as energy, energy_after, disparity, beta (videos, steps, sites), NaN where there is none.

    `sites` (sites,) names their blocks, in the order in which they run.
    """
    rows = record.rows()
    sites = list(dict.fromkeys((row.block, row.module, row.attention) for row in rows))
    column = {site: number for number, site in enumerate(sites)}
    shape = 1 + max(row.video for row in rows), 1 + max(row.step for row in rows), len(sites)
    arrays = {name: np.full(shape, np.nan, np.float32) for name in RECORDED}
    for row in rows:
        place = row.video, row.step, column[row.block, row.module, row.attention]
        for name, values in arrays.items():
            value = getattr(row, name)
            values[place] = np.nan if value is None else value
    return arrays | {"sites": np.array([block for block, _, _ in sites])}


@torch.no_grad()
def decode(pipe: AnimateDiffPipeline, latents: Tensor) -> Tensor:
    """Clips (n, F, 3, H, W) in [-1, 1] from latents (n, C, F, h, w)."""
    with _half(pipe):
        clips: Tensor = pipe.decode_latents(latents.to(pipe.device, pipe.dtype))
    return clips.transpose(1, 2).clamp(-1, 1).cpu()


def pixels(clips: Tensor) -> np.ndarray:
    """Frames (n, F, H, W, 3), uint8, of clips (n, F, 3, H, W) in [-1, 1]."""
    return np.asarray((127.5 * (clips + 1)).round().byte().movedim(2, -1).numpy())


def _half(pipe: AnimateDiffPipeline) -> torch.autocast:
    return torch.autocast(pipe.device.type, torch.bfloat16, enabled=pipe.device.type != "cpu")


def _treated(
    pipe: AnimateDiffPipeline, variant: Variant, *, record: bool
) -> AbstractContextManager[Run[Record | None] | None]:
    if variant.free_init:
        return free_init(pipe)
    if variant.config is None:
        return observe(pipe, PAPER) if record else nullcontext()
    if variant.band is not None:
        return filtered_attention(pipe, variant.band, variant.config)
    return enhanced(pipe, variant.config, record=record)
