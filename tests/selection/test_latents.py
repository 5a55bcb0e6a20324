"""What the predicted latents tell, and where their frames are in every family that packs them in its own way."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bytheway.errors import ByTheWayError
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.models.profile import profile_of
from bytheway.selection.latents import frames_first, predict_by_latents
from tests.toys import joint


def glimpse(latents: torch.Tensor) -> Any:
    return SimpleNamespace(step=SimpleNamespace(predicted=lambda: latents))


@pytest.mark.parametrize(
    ("name", "asked", "shape", "axis"),
    [
        ("cogvideox", 16, (1, 4, 4, 4, 6), 1),
        ("wan", 13, (1, 16, 4, 4, 6), 2),
        ("mochi", 19, (1, 12, 4, 4, 6), 2),
        ("hunyuanvideo", 13, (1, 4, 4, 4, 6), 2),
    ],
)
def test_frames_come_first(name: str, asked: int, shape: tuple[int, ...], axis: int) -> None:
    pipe, _ = joint.FACTORIES[name]()
    job = check(Request(("a",), seed=1, num_frames=asked, width=48, height=32), profile_of(pipe))
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(frames_first(latents, job), latents[0].movedim(axis - 1, 0))


@pytest.mark.parametrize("images", [0, 5])
def test_packed_frames(images: int) -> None:
    """Frame after frame; tokens of images come before those of the video."""
    pipe, _ = joint.ltx()
    job = check(Request(("a",), seed=1, num_frames=13, width=64, height=32), profile_of(pipe))
    count, per_frame = job.profile.latent_frames(13), 64 * 32 // job.profile.pixels_per_latent**2
    frames = torch.randn(count, per_frame, 8, generator=torch.Generator().manual_seed(0))
    packed = torch.cat([torch.ones(images, 8), frames.flatten(0, 1)])[None]
    assert torch.equal(frames_first(packed, job), frames)


def test_what_moves_and_what_flickers() -> None:
    pipe, _ = joint.wan()
    job = check(Request(("a",), seed=1, num_frames=13, width=48, height=32), profile_of(pipe))
    ramp = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 16, 4, 4, 6)
    still, steady, fast = (predict_by_latents(glimpse(factor * ramp), job) for factor in (0.0, 1.0, 2.0))
    flicker = predict_by_latents(glimpse(ramp % 2), job)
    assert [one.motion for one in (still, steady, fast, flicker)] == [0, 1, 2, 1]
    assert [one.structure for one in (still, steady, fast, flicker)] == [0, 0, 0, -2]
    assert steady.near_static is None


@pytest.mark.parametrize(
    ("shape", "said"), [((1, 16, 2, 4, 6), "2 latent frames, which"), ((1, 16, 4, 6), "the shape")]
)
def test_latents_that_tell_nothing(shape: tuple[int, ...], said: str) -> None:
    pipe, _ = joint.wan()
    job = check(Request(("a",), seed=1, num_frames=13, width=48, height=32), profile_of(pipe))
    with pytest.raises(ByTheWayError, match=said):
        predict_by_latents(glimpse(torch.zeros(shape)), job)
