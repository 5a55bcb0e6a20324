"""Experiments without a model: small clips that say of every frame which arm and which frame it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bytheway.clips.frames import Frames
from bytheway.clips.write import save_video
from bytheway.evaluation.experiment.arms import parse_arms
from bytheway.evaluation.experiment.folder import Experiment, write_facts

SIDE, FRAMES, FPS = 64, 8, 16.0
STEP = 4  # pixels by which the bar moves from frame to frame
PROMPTS = ("a red ball on grass", "a <b>blue</b> star & 'moon'", "a white box on sand", "a cat", "a dog", "a bird")


def clip_of(arm: int, prompt: int, frames: int = FRAMES) -> Frames:
    """Red for the first arm, green for the second, blue for the third; a white bar steps to the right."""
    clip = np.zeros((frames, SIDE, SIDE, 3), dtype=np.uint8)
    clip[..., arm] = 120 + 10 * prompt
    for k, frame in enumerate(clip):
        frame[:, STEP * k : STEP * k + SIDE // 2] = 255
    return clip


def begin_experiment(folder: Path, arms: str, prompts: Sequence[str], seeds: int) -> Experiment:
    """An experiment without its clips."""
    experiment = Experiment(folder, parse_arms(arms), tuple(prompts), seeds)
    write_facts(
        folder,
        {
            "model": {"model": "toy"},
            "sampling": {"seed": 0},
            "arms": {arm.name: {"folder": arm.folder} for arm in experiment.arms},
            "seeds": list(range(seeds)),
            "prompts": list(prompts),
        },
    )
    return experiment


def make_experiment(
    folder: Path,
    arms: str = "vanilla,enhanced",
    prompts: Sequence[str] = PROMPTS,
    seeds: int = 1,
    *,
    still: bool = False,
) -> Experiment:
    """An experiment as `bytheway evaluate` leaves it; `still`: nothing moves in its clips."""
    experiment = begin_experiment(folder, arms, prompts, seeds)
    for number, arm in enumerate(experiment.arms):
        for place, path in enumerate(experiment.clips(arm)):
            clip = clip_of(number, place // seeds)
            frames = np.repeat(clip[:1], FRAMES, axis=0) if still else clip
            settings = {"prompt": prompts[place // seeds], "seed": place % seeds, "arm": arm.name, "model": "toy"}
            save_video(frames, path, FPS, settings)
    return experiment
