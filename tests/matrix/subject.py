"""One pipeline of the matrix, ready to be run."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from bytheway import ByTheWayConfig, enhanced
from bytheway.families.known import preset_for
from tests.matrix.rows import ROWS, Row
from tests.toys.animatediff import PROMPTS

FRAMES = 4
SIZE = (32, 64)
STEPS = 2
GUIDANCE = 5.0


class Subject:
    """A tiny pipeline of one row, which every test leaves as it found it, and what it makes.

    Runs have two steps, of which the method takes part in the first.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.pipe, self._call = row.make(FRAMES)

    @property
    def from_video(self) -> bool:
        """Whether it runs but half of the steps asked for."""
        return "strength" in self._call

    def fresh(self, frames: int = FRAMES) -> Any:
        """Another pipeline with the same weights."""
        return self.row.make(frames)[0]

    def made_for(self, frames: int) -> Any:
        """The pipeline, or one for that many frames where the number is part of the model."""
        return self.fresh(frames) if self.row.fixed_frames else self.pipe

    def config(self, **changes: Any) -> ByTheWayConfig:
        """Strong settings, in the first half of the steps; self-guidance where there is something to guide."""
        preset = preset_for(self.pipe).config
        strong = {"alpha": 0.6 if preset.alpha else 0.0, "beta": 3.0, "active_steps": 0.5}
        return preset.replace(**(strong | changes))

    @cached_property
    def vanilla(self) -> torch.Tensor:
        """The latents of the first prompt."""
        return self.run()

    @cached_property
    def enhanced(self) -> torch.Tensor:
        """The same, enhanced."""
        with enhanced(self.pipe, self.config(), record=False):
            return self.run()

    def run(
        self,
        pipe: Any = None,
        *,
        videos: Sequence[int] = (0,),
        frames: int = FRAMES,
        size: tuple[int, int] = SIZE,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        seeds: Sequence[int] | None = None,
        **changes: Any,
    ) -> torch.Tensor:
        """The latents of a run, videos outermost.

        Args:
            videos: numbers of the videos of the batch; equal numbers are equal prompts, images and clips.
            frames: latent frames.
            size: height and width in pixels.
            steps: to be run; of a video-to-video pipeline twice as many are asked for.
            seeds: None: the number of each video.
            changes: further arguments of the call.
        """
        pipe = pipe or self.pipe
        call = arguments(self._call, videos, (frames - 1) * self.row.stride + 1, size, pipe.vae.dtype)
        call["num_inference_steps"] = steps * 2 if self.from_video else steps
        generators = [torch.Generator().manual_seed(seed) for seed in (videos if seeds is None else seeds)]
        call["generator"] = generators if len(generators) > 1 else generators[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = pipe(**(call | self.row.guidance(guidance) | changes)).frames
        # FramePack hands out what there is of the video after each section.
        video: torch.Tensor = made[-1] if isinstance(made, list) else made
        return video


@functools.cache
def subject_of(name: str) -> Subject:
    """Made once for all tests of a row."""
    return Subject(next(row for row in ROWS if row.name == name))


def arguments(
    call: Mapping[str, Any], videos: Sequence[int], frames: int, size: tuple[int, int], dtype: torch.dtype
) -> dict[str, Any]:
    """A call of a tiny pipeline with other prompts, frames and sizes, whatever it takes of them."""
    height, width = size
    given: dict[str, Any] = {
        "prompt": [PROMPTS[video] for video in videos],
        "image": [picture(size, 100 + video) for video in videos],
        "num_frames": frames,
        "video_length": frames,
        "segment_frame_length": frames,
        "latent_window_size": (frames - 1) // 4 + 1,
        "height": height,
        "width": width,
    }
    if "video" in call:
        clips = [[picture(size, 200 + number) for number in range(frames)] for _ in videos]
        given["video"] = clips if isinstance(call["video"][0], list) else clips[0]
    if "pose_video" in call:  # of one character
        given["image"] = picture(size, 100)
        given["pose_video"] = [picture(size, 400 + number) for number in range(frames)]
        given["face_video"] = [picture((16, 16), 500 + number) for number in range(frames)]
    if "controlnet_frame_indices" in call:
        given["controlnet_frame_indices"] = [0, frames - 1]
    if "conditioning_frames" in call:
        wanted = 2 if "controlnet_frame_indices" in call else frames
        given["conditioning_frames"] = [picture(size, 300 + number) for number in range(wanted)]
    for name, value in call.items():
        if isinstance(value, torch.Tensor):
            encoded = name.endswith("embeds")
            given[name] = torch.cat([value.roll(video, -1).to(dtype) if encoded else value for video in videos])
    return {name: given.get(name, value) for name, value in call.items()}


def picture(size: tuple[int, int], seed: int) -> Image.Image:
    """Coloured patches of 8x8 pixels."""
    height, width = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)


@contextmanager
def noise_in_float32() -> Iterator[None]:
    """Random numbers are drawn in float32 and rounded: of the same seed, other precisions draw other numbers."""
    draw = torch.randn

    def rounded(*shape: Any, dtype: torch.dtype | None = None, **settings: Any) -> torch.Tensor:
        return draw(*shape, **settings).to(dtype)

    with mock.patch.object(torch, "randn", rounded):
        yield


def close(video: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for rounding."""
    torch.testing.assert_close(video, expected, rtol=0, atol=5e-4 * float(expected.abs().max()))


def differ(video: torch.Tensor, other: torch.Tensor) -> None:
    """Further apart than rounding brings them."""
    assert video.isfinite().all()
    assert (video - other).abs().max() > 5e-3 * other.abs().max()
