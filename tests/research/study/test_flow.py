"""Optical flow against motion that is known."""

import pytest
import torch
from torch.nn import functional as F

from research.diorama.measures import MOVING, prompts
from research.diorama.world import Scene, render
from research.study.flow import FAST, dynamic, flow_lengths, optical_flow


def texture(shift: tuple[float, float]) -> torch.Tensor:
    """A smooth random picture, (1, 1, 64, 64), moved by (x, y) pixels."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 12, 12, generator=generator)
    x, y = (torch.arange(64) + 0.5 - moved for moved in shift)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None] / 40 - 0.8
    return F.grid_sample(coarse, places, mode="bicubic", padding_mode="reflection", align_corners=False)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.3, -0.6), (-4.5, 2.5)])
def test_a_moved_texture(shift: tuple[float, float]) -> None:
    flow = optical_flow(texture((0.0, 0.0)), texture(shift))[0, :, 10:-10, 10:-10]
    assert flow.mean((1, 2)).tolist() == pytest.approx(shift, abs=0.1)
    assert (flow - torch.tensor(shift).view(2, 1, 1)).norm(dim=0).median() < 0.25


def test_a_subject_that_travels() -> None:
    clips = render([Scene("box", "red", "desert", "right")], torch.Generator().manual_seed(1))
    grey = clips.frames.mean(2, keepdim=True)[0]
    flow = optical_flow(grey[:-1], grey[1:])
    inside = clips.mask[0, :-1] > 0.9
    speed = clips.centre[0].diff(dim=0)[:, 0].mean()
    assert flow[:, 0][inside].mean() == pytest.approx(speed.item(), rel=0.25)
    assert flow[:, 1][inside].mean().abs() < 0.15


def test_what_moves_more_flows_more() -> None:
    scenes = [Scene("ball", "blue", "meadow", motion) for motion in ("still", "left", "jump")]
    lengths = flow_lengths(2 * render(scenes, torch.Generator().manual_seed(0)).frames - 1)
    still, travelling, jumping = lengths.mean((1, 2, 3))
    assert still < 0.01
    assert 0.1 < travelling < jumping
    assert dynamic(lengths)[0] == 0


@pytest.mark.parametrize(
    ("speed", "moving_pairs", "expected"), [(2.71, 4, 1), (2.69, 15, 0), (9.0, 3, 0), (2.71, 15, 1)]
)
def test_the_rule_for_dynamic_clips(speed: float, moving_pairs: int, expected: int) -> None:
    lengths = torch.zeros(1, 15, 64, 64)
    lengths[0, :moving_pairs, :4, :52] = speed  # 208 pixels: a little over 5 % of 4096
    assert dynamic(lengths).tolist() == [expected]


def test_half_of_what_moves_is_dynamic() -> None:
    """And VBench's threshold, 6/256 of the side, leaves little to raise."""
    scenes = [scene for scene, _ in prompts(160, 1) if scene.motion in MOVING][:96]
    lengths = torch.cat(
        [
            flow_lengths(2 * render(scenes[first : first + 16], torch.Generator().manual_seed(first)).frames - 1)
            for first in range(0, 96, 16)
        ]
    )
    assert 0.4 < dynamic(lengths).mean() < 0.6
    assert dynamic(lengths * FAST / 1.5).mean() > 0.65
