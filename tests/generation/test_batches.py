"""How many clips are made at once, and that this changes nothing about them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bytheway.clips.inputs import ImageInput
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.generation.run import Clip, generate
from bytheway.generation.sample import Step
from bytheway.models import profile_of
from tests.toys import animatediff, joint, temporal, tiny, videocrafter

STRONG = ByTheWayConfig(alpha=0.6, beta=4.0, tau=7, active_steps=0.5)
REQUEST = Request(("a red ball", "a star on snow"), seed=7, num_frames=6, width=16, height=16, steps=2, num_videos=2)


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
    assert {tuple(clip.index for clip in step.clips) for step in seen} == {(0, 1, 2), (3,)}
    assert [clip.settings["batch_size"] for clip in together] == [3, 3, 3, 1]
    assert [clip.settings | {"batch_size": 1} for clip in together] == [clip.settings for clip in alone]
    for one, other in zip(together, alone, strict=True):
        pairs = [(one.frames, other.frames), (one.vanilla, other.vanilla)][: 1 + request.compare]
        assert max(np.abs(mine.astype(int) - theirs).max() for mine, theirs in pairs) <= 1
    differences = [np.abs(clip.frames.astype(int) - alone[0].frames).max() for clip in alone[1:]]
    assert min(differences) > 5


@pytest.mark.parametrize("make", [lambda: temporal.text_to_video()[0], videocrafter.make_pipeline])
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
            tried.append(len(step.clips))
            if len(step.clips) > 1:
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
            tried.append(len(step.clips))
            raise error

    with pytest.raises(type(error)):
        made(pipe, replace(REQUEST, batch_size=2), fail)
    assert tried == ([2, 1] if isinstance(error, torch.OutOfMemoryError) else [2])


def test_clips_are_made_one_by_one_unless_a_batch_is_asked_for(pipe: Any) -> None:
    assert [clip.settings["batch_size"] for clip in made(pipe, REQUEST)] == [1, 1, 1, 1]


def refused(pipe: Any, said: str, **changes: Any) -> None:
    """A batch is refused; one after the other the same clips can be made."""
    check(replace(REQUEST, **changes), pipe)
    with pytest.raises(ByTheWayError, match=f"{said}.* one after the other; leave the batch size out"):
        check(replace(REQUEST, batch_size=2, **changes), pipe)


def test_one_after_the_other(pipe: Any) -> None:
    still = ImageInput(Image.new("RGB", (16, 16)), "cat.png")
    refused(animatediff.sparse_controlnet()[0], "start from images", images=(still,))
    refused(pipe, "are recorded", record=True)
    pipe.enable_free_noise(context_length=4, context_stride=4)
    try:
        refused(pipe, "FreeNoise makes clips")
    finally:
        pipe.disable_free_noise()
    check(replace(REQUEST, batch_size=2), pipe)


def test_one_after_the_other_where_a_batch_would_change_them(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pipe, "scheduler", type("DPMSolverSDEScheduler", (), {})())
        refused(pipe, "DPMSolverSDEScheduler makes clips")
    latte = replace(profile_of(pipe).family, one_at_a_time=(type(pipe).__name__,))
    with monkeypatch.context() as patch:
        patch.setattr("bytheway.models.profile.family_of", lambda denoiser: latte)
        refused(pipe, r"This model \(AnimateDiffPipeline\) makes clips")


def test_models_that_read_no_prompts_make_one_clip_at_a_time() -> None:
    if "stable_video_diffusion" not in temporal.FACTORIES:
        pytest.skip("this diffusers does not have it")
    still = ImageInput(Image.new("RGB", (16, 16)), "cat.png")
    svd, _ = temporal.FACTORIES["stable_video_diffusion"](frames=4)
    refused(svd, "Clips that start from images", images=(still,))
    assert profile_of(svd).one_at_a_time == "This model (StableVideoDiffusionPipeline) makes clips"


def test_transformers_make_several_where_they_are_told_to() -> None:
    ltx, _ = joint.ltx_condition()
    request = Request(("a", "b"), seed=1, num_frames=9, width=64, height=32, batch_size=2)
    assert check(request, ltx).request.batch_size == 2
