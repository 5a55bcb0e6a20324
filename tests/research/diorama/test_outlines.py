"""Outlines of true, cut and doubled subjects, their masks given; and that the small network learns to find masks."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.diorama.judge import STRIDE
from research.diorama.outlines import Outlines, train_outlines
from research.diorama.world import SUBJECTS, Scene, render

SCENES = [
    Scene("car", "red", "meadow", "right"),
    Scene("ball", "blue", "night", "jump"),
    Scene("person", "white", "desert", "left"),
    Scene("boat", "purple", "sea", "still"),
]


class Given(nn.Module):
    """Stands in place of the network: what it is shown are masks already."""

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.logit(F.avg_pool2d(pictures[:, 0], STRIDE), eps=1e-4)


@pytest.fixture(scope="module")
def outlines() -> Outlines:
    """Outlines of twenty renders a subject; masks are given as pictures."""
    outlines = Outlines(clips=20)
    outlines.collect()
    outlines.masks = Given()
    return outlines


@pytest.fixture(scope="module")
def masks() -> Tensor:
    """True masks (clips, F, 3, H, W) of renders that gave no outline."""
    return render(SCENES, torch.Generator().manual_seed(99)).mask.unsqueeze(2).expand(-1, -1, 3, -1, -1)


def test_a_whole_subject_is_one_of_the_outlines(outlines: Outlines, masks: Tensor) -> None:
    assert outlines.overlap(masks).min() > 0.93
    assert outlines.misshapen(masks).tolist() == [0] * len(SCENES)


def test_where_it_is_does_not_matter_but_its_size_does(outlines: Outlines, masks: Tensor) -> None:
    moved = masks.roll((4, -6), (-2, -1))
    assert torch.allclose(outlines.overlap(moved), outlines.overlap(masks), atol=0.02)
    smaller = F.interpolate(F.interpolate(masks.flatten(0, 1), scale_factor=0.7), size=64)
    shrunk = F.pad(F.interpolate(masks.flatten(0, 1), scale_factor=0.6), (13, 13, 13, 13))[..., :64, :64]
    assert outlines.overlap(smaller.unflatten(0, masks.shape[:2])).mean() > 0.9, "drawn coarsely, it is as large"
    assert outlines.misshapen(shrunk.unflatten(0, masks.shape[:2])).tolist() == [1] * len(SCENES)


def test_two_subjects_and_half_a_subject_are_misshapen(outlines: Outlines, masks: Tensor) -> None:
    doubled = masks.maximum(masks.roll(24, -1))
    assert outlines.misshapen(doubled).tolist() == [1] * len(SCENES)
    halved = masks.clone()
    for clip, area in zip(halved, masks[:, 0, 0], strict=True):
        clip[..., : int(area.any(0).nonzero().float().mean())] = 0
    assert outlines.misshapen(halved[[0, 2, 3]]).tolist() == [1] * 3


def test_two_bad_frames_are_forgiven(outlines: Outlines, masks: Tensor) -> None:
    torn = masks.clone()
    torn[:, :2] = 1
    assert outlines.misshapen(torn).tolist() == [0] * len(SCENES)
    torn[:, 2] = 1
    assert outlines.misshapen(torn).tolist() == [1] * len(SCENES)


def test_the_network_learns_and_the_file_is_whole(tmp_path: Path) -> None:
    trained = train_outlines(tmp_path, 12, torch.device("cpu"), clips=2)
    losses = (tmp_path / "masks" / "loss.jsonl").read_text().splitlines()
    assert losses
    assert trained.shapes.shape[0] == len(SUBJECTS)
    assert trained.shapes.any(-1).all(), "each outline has something in it"
    again = train_outlines(tmp_path, 0, torch.device("cpu"), clips=2)
    for name, values in trained.state_dict().items():
        assert torch.equal(values, again.state_dict()[name])
