"""What is asked of a model and what is measured of its clips: prompts, and the judge's figures."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from research.diorama.judge import FACTORS, Reading, labels_of
from research.diorama.world import Scene, all_scenes, caption, split

STATIC_PIXELS = 4.0
"""A sixteenth of the frame. About one render in ten moves less, of those whose prompts move."""
BROKEN_FRAMES = 2
MOVING = ("left", "right", "jump")
Measures = dict[str, np.ndarray]

NAMES: Mapping[str, tuple[str, str]] = {
    "subject": ("subject as prompted", "%"),
    "colour": ("colour as prompted", "%"),
    "setting": ("setting as prompted", "%"),
    "motion": ("motion as prompted", "%"),
    "broken": ("broken structure", "%"),
    "misshapen": ("misshapen, by outlines", "%"),
    "near_static": ("near-static (prompts that move)", "%"),
    "motion_range": ("motion range (prompts that move)", "px"),
    "path": ("path (prompts that move)", "px"),
    "jerk": ("jerk", "px"),
    "area_variation": ("variation of the subject's area", "%"),
}
"""What is measured of a clip, in words, with its unit: by `measure`, and by `research.diorama.outlines`."""


def prompts(count: int, seed: int) -> list[tuple[Scene, str]]:
    """``count`` scenes with captions, the even ones from training combinations, the odd ones from unseen ones."""
    rng = random.Random(seed)
    sides = [[scene for scene in all_scenes() if split(scene) == which] for which in ("train", "unseen")]
    return [(scene, caption(scene, rng)) for index in range(count) for scene in [rng.choice(sides[index % 2])]]


def measure(reading: Reading, scenes: list[Scene]) -> Measures:
    """What the judge reads of each clip, (clips,) per measure; NaN where a measure asks for motion and none was.

    Attributes are 1 where they are as prompted; ``broken`` is 1 where more than 2 frames are less than half sure of the
    clip's subject; lengths are in pixels: ``motion_range`` between the two most distant centres, ``path`` travelled,
    ``jerk`` the mean third difference of the centre; ``area_variation`` is the subject's relative deviation in size.
    """
    right = labels_of(reading.scenes()) == labels_of(scenes)
    centre, area = reading.tracks()
    still = torch.tensor([scene.motion not in MOVING for scene in scenes])
    motion_range = torch.cdist(centre, centre).amax((1, 2))
    opinions = reading.subject.softmax(-1)
    certainty = opinions.amax(-1) * (opinions.argmax(-1) == opinions.mean(1).argmax(-1, keepdim=True))
    measures: dict[str, Tensor] = dict(zip(FACTORS, right.float().unbind(1), strict=True)) | {
        "motion_range": motion_range.masked_fill(still, torch.nan),
        "path": centre.diff(dim=1).norm(dim=-1).sum(1).masked_fill(still, torch.nan),
        "jerk": centre.diff(n=3, dim=1).norm(dim=-1).mean(1),
        "near_static": (motion_range < STATIC_PIXELS).float().masked_fill(still, torch.nan),
        "broken": ((certainty < 0.5).sum(1) > BROKEN_FRAMES).float(),
        "area_variation": area.std(1) / area.mean(1),
    }
    return {name: values.double().numpy() for name, values in measures.items()}
