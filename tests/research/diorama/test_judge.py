"""The judge's readings and the report's measures, against the renderer's own truth."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from research.diorama.judge import FACTORS, STRIDE, Judge, Judging, Reading, degrade, labels_of
from research.diorama.measures import measure, prompts
from research.diorama.world import Clips, Scene, render, split

SCENES = [
    Scene("car", "red", "meadow", "right"),
    Scene("ball", "blue", "night", "still"),
    Scene("person", "white", "desert", "jump"),
]


@pytest.fixture(scope="module")
def clips() -> Clips:
    return render(SCENES, torch.Generator().manual_seed(0))


def true_reading(scenes: list[Scene], clips: Clips) -> Reading:
    """What a judge that is always right and sure would read."""
    labels = labels_of(scenes)
    logits = [20.0 * F.one_hot(labels[:, i], len(names)) for i, names in enumerate(FACTORS.values())]
    per_frame = [values[:, None].expand(-1, clips.frames.shape[1], -1) for values in logits[:3]]
    return Reading(*per_frame, motion=logits[3], mask=torch.logit(F.avg_pool2d(clips.mask, STRIDE), eps=1e-6))


def test_a_true_reading_gives_scenes_and_tracks(clips: Clips) -> None:
    reading = true_reading(SCENES, clips)
    assert reading.scenes() == SCENES
    centre, area = reading.tracks()
    assert (centre - clips.centre).abs().max() < 3.5
    assert torch.allclose(area, clips.mask.sum((-1, -2)), rtol=1e-2)


def test_measures_of_true_clips(clips: Clips) -> None:
    seen = measure(true_reading(SCENES, clips), SCENES)
    assert all(seen[name].tolist() == [1, 1, 1] for name in FACTORS)
    assert seen["broken"].tolist() == [0, 0, 0]
    assert seen["motion_range"][0] == pytest.approx(clips.amplitude[0].item(), rel=0.1)
    assert np.isnan(seen["motion_range"][1]), "a prompt to stand still has no motion to be measured"
    assert seen["near_static"][[0, 2]].tolist() == [0, 0]
    assert seen["path"][2] > 2 * seen["motion_range"][2], "two hops go up and down twice"


def test_measures_see_what_is_wrong(clips: Clips) -> None:
    reading = true_reading(SCENES, clips)
    reading.subject = reading.subject.clone()
    reading.subject[0, :5] = reading.subject[0, :5].roll(1, -1)
    reading.mask = reading.mask.clone()
    reading.mask[2] = reading.mask[2, :1]
    wrong = [SCENES[0], Scene("ball", "red", "night", "still"), SCENES[2]]
    seen = measure(reading, wrong)
    assert seen["broken"].tolist() == [1, 0, 0]
    assert seen["colour"].tolist() == [1, 0, 1]
    assert seen["near_static"][2] == 1
    assert seen["jerk"][2] == pytest.approx(0, abs=1e-4)


def test_half_of_the_prompts_are_unseen_combinations() -> None:
    chosen = prompts(40, seed=3)
    assert [split(scene) for scene, _ in chosen] == ["train", "unseen"] * 20
    assert chosen == prompts(40, seed=3)


def test_the_judge_learns_from_a_batch(clips: Clips) -> None:
    torch.manual_seed(0)
    judge = Judge(width=8, features=32)
    generator = torch.Generator().manual_seed(0)
    pixels = degrade(2 * clips.frames - 1, generator)
    masks = F.avg_pool2d(clips.mask, STRIDE)
    judge(pixels)
    objective = Judging(judge)
    optimiser = torch.optim.Adam(judge.parameters(), 3e-3)
    losses = []
    for _ in range(6):
        loss = objective(pixels, labels_of(SCENES), masks)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert judge.read(pixels).mask.shape == (3, 16, 32, 32)
