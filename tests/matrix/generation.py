"""What is made: guidance, batches, precisions, sizes, frames, steps. Each test's first line is its column's meaning."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from bytheway import apply_bytheway, enhanced
from tests.matrix.checks import Activity, Definition
from tests.matrix.subject import Subject, close, differ, noise_in_float32


def guidance(subject: Subject) -> None:
    """with guidance, the enhanced video is another, and with alpha 0 and beta 1 it is the vanilla one"""
    differ(subject.enhanced, subject.vanilla)
    with enhanced(subject.pipe, subject.config(alpha=0, beta=1), record=False):
        close(subject.run(), subject.vanilla)


def no_guidance(subject: Subject) -> None:
    """without guidance, the enhanced video is another, and the one that a guidance of almost 1 gives"""
    vanilla = subject.run(guidance=1.0)
    # Guidance multiplies the difference; joint attention, of which only the values change, needs another means.
    config = subject.config(beta=9) if subject.row.joint else subject.config()
    with enhanced(subject.pipe, config, record=False):
        video = subject.run(guidance=1.0)
        close(subject.run(guidance=1 + 1e-6), video)
    differ(video, vanilla)


def batch(subject: Subject) -> None:
    """a video in a batch of prompts is the video alone"""
    with enhanced(subject.pipe, subject.config(), record=False):
        first, second = subject.run(videos=(1, 0))
    close(second, subject.enhanced[0])
    differ(first, second)


def several_videos(subject: Subject) -> None:
    """a video of several for one prompt is the video alone"""
    with enhanced(subject.pipe, subject.config(), record=False), _embeddings_repeated(subject):
        first, second = subject.run(seeds=(0, 1), **{videos_argument(subject): 2})
    close(first, subject.enhanced[0])
    differ(first, second)


@contextmanager
def _embeddings_repeated(subject: Subject) -> Iterator[None]:
    """These repeat what their text encoder makes for each video, but not embeddings that are given in its place."""
    if subject.row.name not in ("wan_animate", "ltx", "mochi"):
        yield
        return
    encode = subject.pipe.encode_prompt

    def repeated(*args: Any, num_videos_per_prompt: int, **settings: Any) -> tuple[torch.Tensor, ...]:
        made = encode(*args, num_videos_per_prompt=num_videos_per_prompt, **settings)
        return tuple(tensor.repeat_interleave(num_videos_per_prompt, 0) for tensor in made)

    with mock.patch.object(subject.pipe, "encode_prompt", repeated):
        yield


def videos_argument(subject: Subject) -> str:
    """What the pipeline calls the number of videos for each prompt."""
    return "num_images_per_prompt" if subject.row.name == "latte" else "num_videos_per_prompt"


def half_precision(dtype: torch.dtype) -> Callable[[Subject], None]:
    def precision(subject: Subject) -> None:
        pipe = subject.fresh().to(dtype)
        with noise_in_float32():
            vanilla = subject.run(pipe)
            apply_bytheway(pipe, subject.config())
            video = subject.run(pipe)
        assert video.dtype == vanilla.dtype
        differ(video, vanilla)
        assert (video - subject.enhanced).norm() < 10 * (vanilla - subject.vanilla).norm()

    name = str(dtype).removeprefix("torch.")
    precision.__doc__ = (
        f"in {name}, rounding moves the enhanced video (beta 3) less than ten times as far as the vanilla one"
    )
    return precision


def odd_sizes(subject: Subject) -> None:
    """on feature maps with odd sides, every attention computes the method's definition"""
    _computes_the_definition(subject, frames=4, size=subject.row.odd_size)


def frames(number: int) -> Callable[[Subject], None]:
    def clip(subject: Subject) -> None:
        _computes_the_definition(subject, frames=number, size=(32, 32))

    clip.__doc__ = f"with {number} frames (joint attention: latent frames), every attention computes the definition"
    return clip


def _computes_the_definition(subject: Subject, frames: int, size: tuple[int, int]) -> None:
    pipe, config = subject.made_for(frames), subject.config(active_steps=1)
    with enhanced(pipe, config, record=False), Definition(subject.row, pipe, config, frames, size) as definition:
        subject.run(pipe, steps=subject.row.fewest_steps, frames=frames, size=size)
    assert definition.checked > 0


def steps(number: int) -> Callable[[Subject], None]:
    def window(subject: Subject) -> None:
        with _watched(subject) as activity:
            subject.run(steps=number)
        active = math.ceil(number / 2)
        assert activity.runs == [[True] * active + [False] * (number - active)]

    window.__doc__ = f"of {number} step{'s' * (number > 1)}, the method acts in the first half, rounded up"
    return window


@contextmanager
def _watched(subject: Subject) -> Iterator[Activity]:
    config = subject.config()
    with enhanced(subject.pipe, config, record=False), Activity(subject.row, subject.pipe, config) as activity:
        yield activity


def free_init(subject: Subject) -> None:
    """each of FreeInit's iterations has its own first steps in which the method acts, and the video is another"""
    subject.pipe.enable_free_init(num_iters=2)
    try:
        with _watched(subject) as activity:
            # Video-to-video applies its strength to the second iteration once more.
            video = subject.run(steps=8 if subject.from_video else 4)
    finally:
        subject.pipe.disable_free_init()
    assert len(activity.runs) == 2
    for run in activity.runs:
        active = math.ceil(len(run) / 2)
        assert run == [True] * active + [False] * (len(run) - active)
    differ(video, subject.enhanced)


def free_noise(subject: Subject) -> None:
    """in each of FreeNoise's windows over the frames, every attention computes the definition"""
    pipe, config, size = subject.fresh(), subject.config(), (32, 32)
    pipe.enable_free_noise(context_length=4, context_stride=2)
    with enhanced(pipe, config, record=False), Definition(subject.row, pipe, config, 4, size) as definition:
        subject.run(pipe, steps=1, frames=8, size=size, prompt="a red ball bounces")
    sites_of_two_blocks = 8
    assert definition.checked == 3 * sites_of_two_blocks
