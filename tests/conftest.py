"""Fixtures for every test."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
from hypothesis import settings

from bytheway.clips.frames import Frames
from tests.toys import tiny

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the other cores have workers of their own

# A machine that has other work is no failure. The second is for tests that look for it, by hand:
# `pytest --hypothesis-profile=thorough`.
for _name in ("default", "thorough"):
    settings.register_profile(_name, deadline=None)


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What bytheway keeps goes into a folder of the test's own, and nothing of anybody's is found."""
    monkeypatch.setenv("BYTHEWAY_DATA", str(tmp_path_factory.getbasetemp() / "data" / uuid4().hex))


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


@pytest.fixture
def frames() -> Frames:
    """Sixteen frames of 48x64: flat colours, and a square that moves by two pixels a frame."""
    clip = np.empty((16, 48, 64, 3), dtype=np.uint8)
    clip[:] = (40, 120, 220)
    clip[:, 32:] = (60, 160, 60)
    for index, frame in enumerate(clip):
        frame[12:28, 2 * index : 2 * index + 16] = (220, 40, 30)
    return clip


@pytest.fixture
def nearly_full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which no file can grow beyond so many bytes."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited
