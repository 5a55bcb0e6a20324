"""What a user brings: callables, modules and TorchScript files, and answers that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.brought import Brought, BroughtNetwork
from bytheway.evaluation.measures.frame_scores import FrameScores, for_imaging_quality
from bytheway.evaluation.measures.motion_smoothness import MotionSmoothness
from bytheway.evaluation.measures.overall_consistency import OverallConsistency
from bytheway.evaluation.measures.placement import Placement
from bytheway.files import sha256_of

CPU = Placement(torch.device("cpu"), batch_size=5)


class Brightness(nn.Module):
    """Scores of frames: their mean, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(100.0))

    def forward(self, frames: Tensor) -> Tensor:
        return frames.mean((1, 2, 3)) * self.weight


class Blend(nn.Module):
    """The mean of two frames."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return (first + second) / 2


def saved(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), str(path))
    return path


# torch itself calls TorchScript old.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:`torch.jit:FutureWarning")
def test_torchscript_files(frames: Frames, tmp_path: Path) -> None:
    path = saved(Brightness(), tmp_path / "brightness.pt")
    network = BroughtNetwork(Brought(path), CPU)
    assert (network.backbone.name, network.backbone.source) == ("brightness", str(path))
    assert network.backbone.sha256 == sha256_of(path)
    (found,) = FrameScores("imaging_quality", network, for_imaging_quality)(frames, 8)
    assert found.name == "imaging_quality_brightness"
    np.testing.assert_allclose(found.values, frames.mean((1, 2, 3)) / 255 * 100, rtol=1e-5)
    blend = BroughtNetwork(Brought(saved(Blend(), tmp_path / "blend.pt"), name="AMT-S"), CPU)
    (smooth,) = MotionSmoothness(blend)(frames, 8)
    assert (smooth.name, smooth.vbench) == ("motion_smoothness", True)


def test_modules_and_callables(frames: Frames) -> None:
    module = BroughtNetwork(Brought(Brightness(), name="MUSIQ"), CPU)
    (found,) = FrameScores("imaging_quality", module, for_imaging_quality)(frames, 8)
    assert (found.name, found.vbench, found.remarks) == ("imaging_quality", True, ())
    function = BroughtNetwork(Brought(np.add), CPU)
    assert function.backbone.sha256 is None
    (own,) = FrameScores("redness", BroughtNetwork(Brought(lambda few: few[:, 0].mean((1, 2))), CPU), unit="share")(
        frames, 8
    )
    assert (own.name, own.unit, own.vbench) == ("redness", "share", False)
    np.testing.assert_allclose(own.values, frames[..., 0].mean((1, 2)) / 255, rtol=1e-5)


def test_large_frames_are_scaled_for_imaging_quality_and_it_is_said() -> None:
    seen = []

    def note(few: Tensor) -> Tensor:
        seen.append(tuple(few.shape))
        return few.mean((1, 2, 3))

    frames = np.zeros((2, 360, 1024, 3), dtype=np.uint8)
    (found,) = FrameScores("imaging_quality", BroughtNetwork(Brought(note), CPU), for_imaging_quality)(frames, 8)
    assert seen == [(2, 3, 180, 512)]
    assert found.remarks == ("The frames were scaled to 512x180 pixels.",)


def test_pictures_and_prompt_for_overall_consistency(frames: Frames) -> None:
    seen: list[Any] = []

    def note(pictures: Tensor, prompt: str) -> float:
        seen.append((tuple(pictures.shape), prompt))
        return 0.25

    measure = OverallConsistency(BroughtNetwork(Brought(note), CPU))
    (found,) = measure(frames, 8, "a square")
    assert seen == [((8, 3, 224, 224), "a square")]
    assert found.value == 0.25
    assert found.remarks == ("The clip was seen in its frames 0, 2, 4, 6, 8, 10, 12, 14.",)
    for prompt in (None, ""):
        with pytest.raises(ByTheWayError, match="give the prompt"):
            measure(frames, 8, prompt)


@pytest.mark.parametrize("answer", [torch.zeros(3), torch.full((2,), torch.nan)])
def test_scores_that_are_none(answer: Tensor) -> None:
    frames = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    network = BroughtNetwork(Brought(lambda _: answer, name="scorer"), CPU)
    with pytest.raises(ByTheWayError, match=r"^scorer gave \d scores for 2 frames, or some that are no finite numbers"):
        FrameScores("mine", network)(frames, 8)
    consistency = BroughtNetwork(Brought(lambda *_: answer, name="scorer"), CPU)
    with pytest.raises(ByTheWayError, match=r"^scorer gave \d numbers for a clip and its prompt"):
        OverallConsistency(consistency)(frames, 8, "a prompt")


@pytest.mark.parametrize("answer", [lambda a, b: a[..., :8], lambda a, b: a * torch.nan])
def test_middles_that_are_none(frames: Frames, answer: Any) -> None:
    network = BroughtNetwork(Brought(answer, name="blend"), CPU)
    with pytest.raises(ByTheWayError, match=r"^blend gave \(5, 3, .* an interpolator answers two frames in \[0, 1\]"):
        MotionSmoothness(network)(frames, 8)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ByTheWayError, match="There is no TorchScript file"):
        BroughtNetwork(Brought(tmp_path / "none.pt"), CPU)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("no network")
    for name in ("weights.pt", "text.pt"):
        with pytest.raises(ByTheWayError, match=rf"{name} holds no TorchScript"):
            BroughtNetwork(Brought(tmp_path / name), CPU)
