"""Fixtures for every test."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests import tiny


@pytest.fixture
def tiny_pipeline() -> Any:
    """A fresh four-level AnimateDiffPipeline with seeded random weights."""
    return tiny.make_pipeline()


@pytest.fixture
def pipeline_factory() -> Callable[..., Any]:
    """For tests that need other levels, heads, dtypes or a second pipeline."""
    return tiny.make_pipeline


@pytest.fixture
def generate() -> Callable[..., torch.Tensor]:
    """A short, seeded run of a pipeline, as latents."""
    return tiny.generate
