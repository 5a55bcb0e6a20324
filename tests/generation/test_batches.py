"""How many clips are made at once, and that this changes nothing about them."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bytheway.clips.inputs import ImageInput
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.generation.batches import bytes_per_clip, clips_at_once
from bytheway.generation.request import Request, complete
from bytheway.generation.run import Clip, generate
from bytheway.generation.sample import Step
from tests.toys import architectures, joint_models, tiny, videocrafter

STRONG = ByTheWayConfig(alpha=0.6, beta=4.0, tau=7, active_steps=0.5)
REQUEST = Request(("a red ball", "a star on snow"), seed=7, num_frames=6, width=16, height=16, steps=2, num_videos=2)
MIB = 2**20


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny.make_pipeline()


def made(pipe: Any, request: Request, on_step: Callable[[Step], None] = lambda step: None) -> list[Clip]:
    return list(generate(pipe, request, on_step))


@pytest.mark.parametrize(
    "changes", [{}, {"compare": True, "negative_prompt": "blue"}, {"guidance_scale": 1.0}, {"free_init": True}]
)
def test_clips_are_the_same_as_alone(pipe: Any, changes: dict[str, Any]) -> None:
    """Prompt, seed and beta of each are its own; batches round otherwise, which may move a pixel by one level."""
    request = replace(REQUEST, config=STRONG, **changes)
    seen: list[Step] = []
    together = made(pipe, replace(request, batch_size=3), seen.append)
    alone = made(pipe, replace(request, batch_size=1))
    assert {tuple(take.index for take in step.takes) for step in seen} == {(0, 1, 2), (3,)}
    assert [clip.settings["batch_size"] for clip in together] == [3, 3, 3, 1]
    assert [clip.settings | {"batch_size": 1} for clip in together] == [clip.settings for clip in alone]
    for one, other in zip(together, alone, strict=True):
        pairs = [(one.frames, other.frames), (one.vanilla, other.vanilla)][: 1 + request.compare]
        assert max(np.abs(mine.astype(int) - theirs).max() for mine, theirs in pairs) <= 1
    differences = [np.abs(clip.frames.astype(int) - alone[0].frames).max() for clip in alone[1:]]
    assert min(differences) > 5


@pytest.mark.parametrize("make", [lambda: architectures.text_to_video()[0], videocrafter.make_pipeline])
def test_so_are_those_of_other_pipelines(make: Callable[[], Any]) -> None:
    """ModelScope's, and VideoCrafter2's with noise in every step."""
    other = make()
    request = replace(REQUEST, width=32, num_videos=1, config=STRONG.replace(alpha=0.1), negative_prompt="blue")
    together, alone = (made(other, replace(request, batch_size=size)) for size in (2, 1))
    for one, by_itself in zip(together, alone, strict=True):
        assert np.abs(one.frames.astype(int) - by_itself.frames).max() <= 1
    assert np.abs(alone[1].frames.astype(int) - alone[0].frames).max() > 5


def test_a_batch_too_large_for_the_memory_is_halved(pipe: Any) -> None:
    tried: list[int] = []

    def fail(step: Step) -> None:
        if step.done == 1:
            tried.append(len(step.takes))
            if len(step.takes) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    request = replace(REQUEST, prompts=("a ball", "a star", "a red ball"), config=STRONG, batch_size=5)
    clips = made(pipe, request, fail)
    assert tried == [5, 2, 1, 1, 1, 1, 1, 1]
    assert [clip.settings["seed"] for clip in clips] == [7, 8] * 3


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("a bug")])
def test_other_failures_and_those_of_one_clip_end_the_run(pipe: Any, error: Exception) -> None:
    tried: list[int] = []

    def fail(step: Step) -> None:
        if step.done == 1:
            tried.append(len(step.takes))
            raise error

    with pytest.raises(type(error)):
        made(pipe, replace(REQUEST, batch_size=2), fail)
    assert tried == ([2, 1] if isinstance(error, torch.OutOfMemoryError) else [2])


def test_as_many_as_stay_near_the_caches_of_a_cpu(pipe: Any) -> None:
    small = complete(REQUEST, pipe)
    # 40 maps, both halves of the guidance, 6 frames of 8x8 latents, 32 channels, float32
    assert bytes_per_clip(pipe, small) == 40 * 2 * 6 * 64 * 32 * 4
    assert bytes_per_clip(pipe, replace(small, guidance_scale=1.0)) == 40 * 6 * 64 * 32 * 4
    assert clips_at_once(pipe, small) == 16
    assert clips_at_once(pipe, replace(small, width=64, height=32)) == 80 * MIB // (8 * 40 * 2 * 6 * 64 * 32 * 4)
    assert clips_at_once(pipe, replace(small, width=256, height=256)) == 1
    assert clips_at_once(pipe, replace(small, width=256, height=256, batch_size=3)) == 3


def test_as_many_as_fit_half_of_the_free_memory_of_a_gpu(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(
        unet=pipe.unet,
        scheduler=pipe.scheduler,
        vae_scale_factor=2,
        dtype=torch.float16,
        _execution_device=torch.device("cuda"),
    )
    monkeypatch.setattr("bytheway.generation.batches.takes", lambda pipe, setting: setting)
    monkeypatch.setattr("bytheway.generation.batches.denoiser_of", lambda pipe: pipe.unet)
    request = replace(complete(REQUEST, pipe), width=128, height=128)
    needed = bytes_per_clip(gpu, request)
    assert needed == 40 * 2 * 6 * 64 * 64 * 32 * 2
    for free, fit in ((0, 1), (5 * needed, 3), (100 * needed, 16)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device, free=free: (free, 200 * needed))
        monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 3 * needed)
        monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 2 * needed)
        assert clips_at_once(gpu, request) == fit, free


def test_one_after_the_other(pipe: Any) -> None:
    request = complete(REQUEST, pipe)
    still = ImageInput(Image.new("RGB", (16, 16)), "cat.png")
    for changes, said in (({"images": (still,)}, "start from images"), ({"record": True}, "are recorded")):
        assert clips_at_once(pipe, replace(request, **changes)) == 1
        with pytest.raises(ByTheWayError, match=f"{said}.* one after the other; leave the batch size out"):
            clips_at_once(pipe, replace(request, batch_size=2, **changes))
    pipe.enable_free_noise(context_length=4, context_stride=4)
    try:
        assert clips_at_once(pipe, request) == 1
    finally:
        pipe.disable_free_noise()
    assert clips_at_once(pipe, request) > 1


def test_one_after_the_other_where_a_batch_would_change_them(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request = complete(REQUEST, pipe)
    with monkeypatch.context() as patch:
        patch.setattr(pipe, "scheduler", type("DPMSolverSDEScheduler", (), {})())
        assert clips_at_once(pipe, request) == 1
    with monkeypatch.context() as patch:
        patch.setattr(pipe, "__class__", type("LattePipeline", (type(pipe),), {}))
        assert clips_at_once(pipe, request) == 1
    assert clips_at_once(pipe, request) > 1


def test_transformers_make_one_clip_at_a_time_unless_told_otherwise() -> None:
    ltx, _ = joint_models.ltx_condition()
    request = complete(Request(("a", "b"), seed=1, num_frames=9, width=64, height=32), ltx)
    assert clips_at_once(ltx, request) == 1
    assert clips_at_once(ltx, replace(request, batch_size=2)) == 2
