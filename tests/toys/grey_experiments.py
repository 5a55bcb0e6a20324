"""Experiments as `bytheway evaluate` leaves them, of clips that are drawn in no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from bytheway.clips.write import save_video
from bytheway.evaluation.experiment.folder import Experiment
from tests.toys.experiments import begin_experiment

PROMPTS = ("a red ball rolls", "a star spins at night")
Level: TypeAlias = Callable[[str, int, int], int]


def enhanced_is_brighter(arm: str, prompt: int, seed: int) -> int:
    return {"vanilla": 60, "enhanced": 160}.get(arm, 110) + 5 * prompt + seed


def write_experiment(
    folder: Path,
    prompts: tuple[str, ...] = PROMPTS,
    arms: str = "vanilla,enhanced",
    seeds: int = 1,
    level: Level = enhanced_is_brighter,
) -> Experiment:
    """Write clips of 16 greys, each brighter by one, from a level on that arm, prompt and seed decide."""
    found = begin_experiment(folder, arms, prompts, seeds)
    for arm in found.arms:
        for index, path in enumerate(found.clips(arm)):
            prompt, seed = divmod(index, seeds)
            greys = np.arange(16)[:, None, None, None] + level(arm.name, prompt, seed)
            clip = np.broadcast_to(greys, (16, 32, 32, 3)).astype(np.uint8)
            save_video(clip, path, 8.0, {"prompt": prompts[prompt], "seed": 7 + seed, "arm": f"secret {arm.name}"})
    return found
