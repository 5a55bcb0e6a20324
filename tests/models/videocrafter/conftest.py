"""The tensors of VideoCrafter's own code, and a tiny pipeline of ours."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bytheway.models.videocrafter import VideoCrafterPipeline, VideoCrafterUNet
from tests.toys import videocrafter

FIXTURES = Path(__file__).parents[4] / "shared" / "fixtures" / "videocrafter2"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Inputs, outputs and names of the official code."""
    if not FIXTURES.is_dir():
        pytest.skip("the tensors of VideoCrafter's code (../shared/fixtures) are not beside this tree")
    return FIXTURES


@pytest.fixture(scope="session")
def make_unet() -> Callable[..., VideoCrafterUNet]:
    """A fresh UNet with seeded random weights."""
    return videocrafter.make_unet


@pytest.fixture(scope="session")
def make_pipeline() -> Callable[[], VideoCrafterPipeline]:
    """A fresh pipeline; all have equal weights."""
    return videocrafter.make_pipeline


@pytest.fixture(scope="module")
def pipe(make_pipeline: Callable[[], VideoCrafterPipeline]) -> VideoCrafterPipeline:
    """For tests that leave it as it is."""
    return make_pipeline()
