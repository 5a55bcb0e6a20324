"""Small networks of the fixtures, as folders and in place, and where they compute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bytheway.evaluation.measures.backbones.clip import VIT_B, VIT_L, Clip
from bytheway.evaluation.measures.backbones.dino import Dino
from bytheway.evaluation.measures.placement import Placement
from tests.evaluation.measures import goldens


@pytest.fixture(scope="session")
def place() -> Placement:
    """On the CPU, in float32, five frames at a time: a number that divides no golden clip evenly."""
    return Placement(torch.device("cpu"), batch_size=5)


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return goldens.save_dino(tmp_path_factory.mktemp("networks") / "dino_small", goldens.stored("dino_small"), heads=3)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return goldens.save_clip(tmp_path_factory.mktemp("networks") / "clip_small", goldens.stored("clip_small"), heads=4)


@pytest.fixture(scope="session")
def dino(place: Placement, dino_folder: Path) -> Dino:
    return Dino(place, dino_folder, offline=True)


@pytest.fixture(scope="session")
def clip_b(place: Placement, clip_folder: Path) -> Clip:
    return Clip(VIT_B, place, clip_folder, offline=True)


@pytest.fixture(scope="session")
def clip_l(place: Placement, clip_folder: Path) -> Clip:
    return Clip(VIT_L, place, clip_folder, offline=True)
