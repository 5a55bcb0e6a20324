"""A run from prompts to clips: what is asked of it is a `Request`. The command line and others build on it.

Importing this does not import torch.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

import bytheway
from bytheway.clips.frames import Frames
from bytheway.clips.sheets import side_by_side
from bytheway.errors import is_out_of_memory
from bytheway.generation.batches import clips_at_once
from bytheway.generation.request import Request, complete, shape
from bytheway.generation.sample import Sampler, Step, Take, has_free_init

if TYPE_CHECKING:
    from bytheway.record import Record


@dataclass(frozen=True)
class Clip:
    """A finished clip, and everything that is needed to make it again (`settings`, ready for JSON).

    `seconds` is how long it took; of clips made at once, each one's share.
    """

    frames: Frames
    vanilla: Frames | None  # the same seed without the method, where asked for
    record: Record | None
    fps: float
    seconds: float
    settings: dict[str, Any]

    def shown(self) -> Frames:
        """The clip itself, or both variants side by side."""
        return self.frames if self.vanilla is None else _compared(self.vanilla, self.frames)


def generate(pipe: Any, request: Request, on_step: Callable[[Step], None] = lambda step: None) -> Iterator[Clip]:
    """Make the clips, as many at once as pay and fit, each handed out as soon as those made with it are finished.

    A batch that needs more memory than there is is made again in halves. `pipe` is a loaded diffusers pipeline; it is
    left as it was, also when the run is broken off. `on_step` hears of every denoising step; what it raises ends the
    run. Raises ByTheWayError for a request that cannot be met.
    """
    request = complete(request, pipe)
    seeds = range(request.seed, request.seed + request.num_videos)
    waiting = [Take(index, *each) for index, each in enumerate(product(request.prompts, seeds))]
    size = clips_at_once(pipe, request)
    while waiting:
        takes = tuple(waiting[:size])
        clips = _batch(pipe, request, takes, on_step)
        if clips is None:
            size = len(takes) // 2
            continue
        yield from clips
        del waiting[: len(takes)]


def shown_size(request: Request) -> tuple[int, int]:
    """Width and height, in pixels, of what is shown of the clips of a complete request."""
    _, width, height = shape(request)
    if request.compare:
        still = np.zeros((1, height, width, 3), dtype=np.uint8)
        height, width = _compared(still, still).shape[1:3]
    return width, height


def _compared(vanilla: Frames, enhanced: Frames) -> Frames:
    return side_by_side([("vanilla", vanilla), ("enhanced", enhanced)])


def _batch(pipe: Any, request: Request, takes: tuple[Take, ...], on_step: Callable[[Step], None]) -> list[Clip] | None:
    """The clips of a batch; None where several need more memory than there is."""
    import torch

    try:
        return _clips(pipe, request, takes, on_step)
    except Exception as error:
        if len(takes) == 1 or not is_out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    return None


def _clips(pipe: Any, request: Request, takes: tuple[Take, ...], on_step: Callable[[Step], None]) -> list[Clip]:
    sample = Sampler(pipe, request, takes, on_step)
    start = time.perf_counter()
    vanilla = sample(None)[0] if request.compare else [None] * len(takes)
    enhanced, record = sample(request.config)
    seconds = (time.perf_counter() - start) / len(takes)
    settings = [_settings(pipe, request, take, len(takes)) for take in takes]
    return [
        Clip(frames, beside, record, own["fps"], seconds, own)
        for frames, beside, own in zip(enhanced, vanilla, settings, strict=True)
    ]


def _settings(pipe: Any, request: Request, take: Take, batch_size: int) -> dict[str, Any]:
    import torch

    return {
        "prompt": take.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": take.seed,
        "num_frames": request.num_frames,
        "width": request.width,
        "height": request.height,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "fps": request.fps,
        "scheduler": type(pipe.scheduler).__name__,
        "free_init": request.free_init or has_free_init(pipe),
        "images": [f"{still.name}@{still.index(shape(request)[0])}" for still in request.images],
        "video": request.video.name if request.video else None,
        "strength": request.strength,
        "compare": request.compare,
        "batch_size": batch_size,  # rounding differs with it
        "config": request.config.to_dict() if request.config else None,
        "device": str(pipe.device),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "versions": {
            "bytheway": bytheway.__version__,
            "torch": torch.__version__,
            "diffusers": version("diffusers"),
            "python": platform.python_version(),
        },
    }
