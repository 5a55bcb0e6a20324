"""What is asked of a run from prompts to clips: plain data, checked against itself.

Importing this does not import torch, so that a request is checked before anybody waits for it.
"""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from bytheway.clips.inputs import ImageInput, VideoInput
from bytheway.config import AutoConfig, ByTheWayConfig
from bytheway.errors import ByTheWayError

# What Python makes of bytes on the command line that are no UTF-8.
_UNDECODED: Final = re.compile("[\ud800-\udfff]")

MOST_CLIPS: Final = 100_000  # of a run: weeks of work for any machine


def drawn_seed() -> int:
    """A seed in [0, 2^32) for a run that is given none; the global generators of torch and NumPy stay as they are."""
    return secrets.randbelow(2**32)


@dataclass(frozen=True)
class Request:
    """What to generate; what is None is chosen by the model (`bytheway.generation.job.check`).

    Attributes:
        prompts: one clip is made of each, `num_videos` where more are wanted; models that read no prompts (Stable Video
            Diffusion) use it as a name.
        seed: of the first clip of every prompt, in [0, 2^63); the next one has seed + 1, and so on. A clip depends on
            its own prompt and seed alone, but for rounding that differs between batches of different sizes. Drawn where
            it is not given.
        config: settings of the method; None: the pipeline is used as it is.
        negative_prompt: what the clips shall not show.
        num_videos: clips of every prompt.
        num_frames: of a clip; made from a video, at most as many as that has.
        height, width: in pixels.
        steps: denoising steps.
        guidance_scale: of the prompt, at least 0; 1 is no guidance.
        fps: frames a second; made from a video, those of the video.
        compare: make every clip twice from the same seed, as the pipeline is and with the method.
        free_init: FreeInit with three iterations, for comparison; where the pipeline has it on, it keeps its own.
        record: keep what the method measures (`Clip.record`); without `config` it only observes.
        batch_size: how many clips are made at once, at most; each needs memory of its own. A batch that does not fit
            the memory is made again in halves.
        images: what the clips show, or follow, in some of their frames.
        video: what the clips are made from, frame by frame.
        strength: how far the clips may go from the video, in (0, 1]: that share of the steps is run.
        auto: which settings of the method were left to the model and found for it; clips say so.

    Raises:
        ByTheWayError: a value lies outside its range, or two contradict each other.
    """

    prompts: tuple[str, ...]
    seed: int = field(default_factory=drawn_seed)
    config: ByTheWayConfig | None = None
    negative_prompt: str | None = None
    num_videos: int = 1
    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    fps: float | None = None
    compare: bool = False
    free_init: bool = False
    record: bool = False
    batch_size: int = 1
    images: tuple[ImageInput, ...] = ()
    video: VideoInput | None = None
    strength: float | None = None
    auto: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_prompts()
        self._check_numbers()
        self._check_starts()
        if isinstance(self.config, AutoConfig):
            raise ByTheWayError(
                f"{', '.join(self.config.auto)} cannot be auto in a request, which no model belongs to; give generate "
                "the prompts and such a config, or what its resolve(pipe) makes of it."
            )
        if self.compare and self.config is None:
            raise ByTheWayError("A comparison needs the method's settings; give them, or leave the comparison out.")

    def _check_prompts(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ByTheWayError("The prompt is empty; say what the clip shall show.")
        for prompt in (*self.prompts, self.negative_prompt or ""):
            if _UNDECODED.search(prompt):
                raise ByTheWayError(f"The prompt {prompt!r} is no text in UTF-8; write it anew.")

    def _check_numbers(self) -> None:
        for name in ("num_videos", "num_frames", "width", "height", "steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ByTheWayError(f"{name} is {value}; it must be at least 1.", setting=name)
        if len(self.prompts) * self.num_videos > MOST_CLIPS:
            raise ByTheWayError(
                f"{len(self.prompts) * self.num_videos} clips are too many for one run; ask for at most {MOST_CLIPS}.",
                setting="num_videos",
            )
        # In float32, and the longest there can be: memory is counted in 63 bits.
        if 3 * 4 * math.prod(side or 1 for side in (self.num_frames, self.width, self.height)) >= 2**63:
            raise ByTheWayError("A clip of so many frames or pixels fits into no memory; ask for fewer.")
        if self.guidance_scale is not None and not 0 <= self.guidance_scale < math.inf:
            raise ByTheWayError(f"guidance_scale is {self.guidance_scale:g}; it must be a finite number of at least 0.")
        if not 0 <= self.seed <= 2**63 - self.num_videos:
            raise ByTheWayError(f"seed is {self.seed}; it must lie between 0 and 2^63 - {self.num_videos}.")

    def _check_starts(self) -> None:
        if self.images and self.video is not None:
            raise ByTheWayError("A clip starts from images or from a video, not from both; leave one of them out.")
        if self.strength is not None and self.video is None:
            raise ByTheWayError("A strength says how far a clip may go from a video; give the video.", setting="video")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ByTheWayError(f"strength is {self.strength:g}; it must be greater than 0 and at most 1.")
