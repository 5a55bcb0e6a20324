"""When layout and motion are decided: swap the prompt after k denoising steps and see which of the two a clip shows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any

import torch
from diffusers import AnimateDiffPipeline
from torch import Tensor

from research.diorama.world import Scene, all_scenes, caption, split
from research.study.sampling import Sampling, denoise

Prompt = tuple[Scene, str]


def prompt_pairs(count: int, seed: int) -> list[tuple[Prompt, Prompt]]:
    """`count` pairs of prompts that differ in every attribute, of combinations that were trained on."""
    rng = random.Random(seed)
    known = [scene for scene in all_scenes() if split(scene) == "train"]
    pairs = []
    for _ in range(count):
        before = rng.choice(known)
        after = rng.choice([scene for scene in known if _all_differ(before, scene)])
        pairs.append(((before, caption(before, rng)), (after, caption(after, rng))))
    return pairs


def _all_differ(one: Scene, other: Scene) -> bool:
    return all(a != b for a, b in zip(astuple(one), astuple(other), strict=True))


def sample_swaps(
    pipe: AnimateDiffPipeline, pairs: Sequence[tuple[Prompt, Prompt]], first: int, sampling: Sampling
) -> Tensor:
    """Latents (pairs, steps + 1, C, F, h, w): [:, k] has had k steps under the first prompt, then the second one's.

    A pair has one seed. What precedes the swap is denoised once for all k.
    """
    before, after = ([text for _, text in prompts] for prompts in zip(*pairs, strict=True))
    on_the_way: list[Tensor] = []

    def keep(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        on_the_way.append(tensors["latents"])
        return {}

    stop = first + len(pairs)
    clips = [denoise(pipe, after, sampling, generator=sampling.generators(first, stop))]
    to_the_end = denoise(pipe, before, sampling, generator=sampling.generators(first, stop), callback_on_step_end=keep)
    for k in range(1, sampling.steps):
        with _last_steps(pipe.scheduler, k):
            clips.append(denoise(pipe, after, sampling, latents=on_the_way[k - 1]))
    return torch.stack([*clips, to_the_end], 1)


@contextmanager
def _last_steps(scheduler: Any, done: int) -> Iterator[None]:
    """Let a pipeline begin after the first `done` steps of its schedule (one evaluation a step, as in DDIM)."""
    whole = scheduler.set_timesteps

    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        whole(*args, **kwargs)
        scheduler.timesteps = scheduler.timesteps[done:]

    scheduler.set_timesteps = set_timesteps
    try:
        yield
    finally:
        del scheduler.set_timesteps
