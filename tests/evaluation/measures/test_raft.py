"""RAFT: VBench's numbers with seeded weights, small frames, large frames, and where its weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from torch import nn

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones import raft
from bytheway.evaluation.measures.backbones.correlation import BoundedCorrelation, volume_bytes
from bytheway.evaluation.measures.backbones.importing import torchvision_flow
from bytheway.evaluation.measures.backbones.raft import Raft, load_raft
from bytheway.evaluation.measures.dynamic_degree import FlowMeasures, flow_lengths, top5_mean
from bytheway.evaluation.measures.loading import load_measures
from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement
from bytheway.evaluation.measures.prepare import padded, padding
from bytheway.files import sha256_of
from tests.evaluation.measures import goldens
from tests.evaluation.measures.goldens import CASES, EXTRA, clip_frames, each_case, needs_goldens
from tests.evaluation.measures.raft_names import authors_name, authors_tensors

try:
    FLOW = torchvision_flow()
except ByTheWayError as reason:
    pytest.skip(str(reason), allow_module_level=True)

RELATIVE = 2e-3


@pytest.fixture(scope="module")
def large() -> nn.Module:
    network: nn.Module = FLOW.raft_large()
    network.load_state_dict(authors_tensors(network, small=False))
    return network


@pytest.fixture(scope="module")
def weights(large: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The large network in a file as the authors write it."""
    path = tmp_path_factory.mktemp("raft") / "raft-things.pth"
    tensors = {}
    for name, tensor in large.state_dict().items():
        tensors[f"module.{authors_name(name, small=False)}"] = tensor
        if "downsample.1" in name:
            shortcut = name.replace("feature_encoder", "fnet").replace("context_encoder", "cnet")
            tensors[f"module.{shortcut}"] = tensor
    torch.save(tensors, path)
    return path


def small_flow(place: Placement) -> Raft:
    network = FLOW.raft_small()
    network.load_state_dict(authors_tensors(network, small=True))
    return Raft(network, Backbone("RAFT-small", "seeded", None), place)


@needs_goldens
@each_case
def test_flow_of_a_clip(place: Placement, clip: str) -> None:
    case = CASES[clip]
    golden = case["dynamic_degree"]
    network = golden["raft_small_seeded"]
    found = {
        one.name.removesuffix("_raft_small"): one
        for one in FlowMeasures(small_flow(place))(clip_frames(clip), case["fps"])
    }
    moving = found["dynamic_degree"]
    assert moving.value is network["moves"]
    np.testing.assert_allclose(moving.values, network["per_pair_top5_mean"], rtol=RELATIVE)
    np.testing.assert_allclose(found["flow_mean"].values, network["per_pair_mean_magnitude"], rtol=RELATIVE)
    facts = (golden["interval"], golden["threshold"], golden["pairs_needed"])
    assert tuple(moving.facts.values()) == facts
    assert len(moving.values) == golden["sampled_frames"] - 1
    assert moving.at == tuple(range(golden["interval"], case["frames"], golden["interval"]))
    scale = min(case["height"], case["width"]) / 256
    for length in ("flow_mean", "flow_top5"):
        assert found[f"{length}_scaled"].value == pytest.approx(found[length].value / scale)


@needs_goldens
@pytest.mark.parametrize("number", range(len(EXTRA.get("raft_large_seeded", "n"))))
def test_raft_large(place: Placement, weights: Path, number: int) -> None:
    """From a file in the authors' names, padding among the pixels."""
    golden = EXTRA["raft_large_seeded"][number]
    flow = load_raft(place, weights)
    assert flow.backbone == Backbone("RAFT-large", str(weights), sha256_of(weights))
    rows, columns = (slice(*golden[side]) for side in ("rows", "columns"))
    frames = torch.from_numpy(clip_frames(golden["clip"])[golden["frames"], rows, columns].copy())
    first, second = frames.movedim(-1, 1).float().split(1)
    assert list(padding(*first.shape[-2:], 8)) == golden["pad_left_right_top_bottom"]
    assert list(padded(first, 8).shape[-2:]) == golden["padded_shape"]
    with place.computing():
        found = flow(first, second)
    stored = goldens.stored("large")["raft_large.flow_{}_{}".format(*golden["frames"])]
    torch.testing.assert_close(found[0, :, ::8, ::8], stored, rtol=RELATIVE, atol=RELATIVE)
    lengths = flow_lengths(found)
    assert top5_mean(lengths).item() == pytest.approx(golden["top5_mean"], rel=RELATIVE)
    assert lengths.mean().item() == pytest.approx(golden["mean_magnitude"], rel=RELATIVE)


def test_weights_in_either_names_are_the_same_network(large: nn.Module, weights: Path, tmp_path: Path) -> None:
    torch.save(large.state_dict(), tmp_path / "torchvision.pth")
    ours, theirs = (raft.torchvision_names(raft.read_tensors(path)) for path in (tmp_path / "torchvision.pth", weights))
    assert ours.keys() == theirs.keys() == large.state_dict().keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("size", "factor"), [((64, 64), 2), ((120, 200), 2), ((121, 128), 1), ((96, 64), 2), ((20, 99), 7)]
)
def test_frames_too_small_for_the_pyramid_are_enlarged(place: Placement, size: tuple[int, int], factor: int) -> None:
    assert small_flow(place).enlargement(*size) == factor


def test_what_was_enlarged_is_measured_in_pixels_of_the_clip_and_said(place: Placement) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    flow = small_flow(place)
    (found,) = FlowMeasures(flow, ["flow_mean"])(frames, 8)
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(frames).movedim(-1, 1).float(), scale_factor=2, mode="bilinear", align_corners=False
    )
    with place.computing():
        twice = flow_lengths(flow(*enlarged.split(1))).mean().item()
    assert found.value == pytest.approx(twice / 2, rel=1e-3)
    assert found.remarks == (
        "The flow is that of RAFT-small.",
        "The frames of 96x64 pixels were enlarged 2 times for the network; lengths are in pixels of the clip.",
        "By VBench's rule every clip of two taken frames counts as moving.",
    )


def test_a_small_clip_is_not_called_vbenchs(place: Placement, weights: Path) -> None:
    frames = np.zeros((2, 64, 128, 3), dtype=np.uint8)
    flow = load_raft(place, weights)
    assert [one.vbench for one in FlowMeasures(flow, ["dynamic_degree", "flow_top5"])(frames, 8)] == [False, False]
    frames = np.zeros((2, 128, 128, 3), dtype=np.uint8)
    assert [one.vbench for one in FlowMeasures(flow, ["dynamic_degree", "flow_top5"])(frames, 8)] == [True, False]


def test_correlations_of_large_frames_are_those_of_torchvision(
    place: Placement, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (255 * torch.rand(2, 3, 136, 152, generator=generator) for _ in range(2))
    flow = load_raft(place, weights)
    with place.computing():
        usual = flow(first, second)
        monkeypatch.setattr(raft, "_LARGEST_VOLUME", 0)
        monkeypatch.setattr("bytheway.evaluation.measures.backbones.correlation._AT_ONCE", 81 * 256 * 19 * 3)
        bounded = flow(first, second)
    assert isinstance(flow._network.corr_block, BoundedCorrelation)
    torch.testing.assert_close(bounded, usual, rtol=1e-3, atol=1e-3)


def test_only_large_frames_have_bounded_correlations() -> None:
    assert volume_bytes(torch.empty(4, 3, 512, 512, device="meta")) < raft._LARGEST_VOLUME
    assert volume_bytes(torch.empty(1, 3, 1080, 1920, device="meta")) > raft._LARGEST_VOLUME


def test_weights_are_not_fetched_offline(place: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ByTheWayError, match=r"RAFT-large are not on this machine .* nothing is fetched offline"):
        load_raft(place, offline=True)
    (measure,) = load_measures(["dynamic_degree", "flow_mean"], device="cpu", offline=True)
    assert measure.names == ("dynamic_degree_rife_4", "flow_mean_rife_4")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ByTheWayError, match="RAFT-large are not on this machine"):
        load_measures(["dynamic_degree"], device="cpu", flow="raft")


def test_weights_are_fetched_once_and_held_to_their_hash(
    place: Placement, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def fetch(url: str, path: str, hash_prefix: str) -> None:
        fetched.append(url)
        Path(path).write_bytes(weights.read_bytes())

    begins = sha256_of(weights)[:8]
    url = f"any://where/raft_large-{begins}.pth"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        path = raft._fetched(url, offline=False)
    assert fetched == [url]
    assert path == tmp_path / "checkpoints" / f"raft_large-{begins}.pth"
    path.write_bytes(b"cut short")
    with pytest.raises(ByTheWayError, match="damaged; remove the file"):
        raft._fetched(url, offline=False)


def test_a_network_that_cannot_be_reached(place: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(ByTheWayError, match=r"cannot be fetched \(Name or service not known\)"):
        load_raft(place)


def test_another_file_is_refused(place: Placement, tmp_path: Path) -> None:
    with pytest.raises(ByTheWayError, match="There is no file"):
        load_raft(place, tmp_path / "none.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ByTheWayError, match=r"other\.pth cannot be loaded"):
        load_raft(place, tmp_path / "other.pth")


def test_half_precision_is_near(weights: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (255 * torch.rand(1, 3, 128, 128, generator=generator) for _ in range(2))
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        flow = load_raft(Placement(torch.device("cpu"), dtype), weights)
        assert flow.backbone.precision == str(dtype).removeprefix("torch.")
        with flow.placement.computing():
            found[dtype] = flow_lengths(flow(first, second)).mean().item()
    assert found[torch.bfloat16] == pytest.approx(found[torch.float32], rel=0.1)


@pytest.mark.parametrize(
    ("training", "name", "is_said"),
    [("_C_T_SKHT_V2-", "dynamic_degree_raft_large_c_t_skht_v2", False), ("_C_T_V1-", "dynamic_degree", False),
     ("none", "dynamic_degree", True)],
)  # fmt: skip
def test_a_file_is_known_by_its_hash(
    place: Placement, weights: Path, monkeypatch: pytest.MonkeyPatch, training: str, name: str, is_said: bool
) -> None:
    """Of another of torchvision's trainings it is not VBench's RAFT; of an unknown one, that is said."""
    known = sha256_of(weights)[:8]
    monkeypatch.setattr(raft, "_begins", lambda url: known if training in url else "unknown")
    flow = load_raft(place, weights)
    (found,) = FlowMeasures(flow, ["dynamic_degree"])(np.zeros((2, 128, 128, 3), np.uint8), 8)
    assert (found.name, found.vbench) == (name, name == "dynamic_degree")
    assert any("whose hash is not a known one" in remark for remark in found.remarks) == is_said
    monkeypatch.setattr(raft, "_THINGS", sha256_of(weights))
    assert (load_raft(place, weights).backbone.name, load_raft(place, weights).remarks) == ("RAFT-large", ())
