"""From prompts to clips, on a loaded pipeline. The command line and others build on it.

Importing this does not import torch.
"""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from threading import Lock
from typing import Any, Final, TypeAlias
from weakref import WeakSet

import numpy as np

import bytheway
from bytheway.clips.frames import Frames
from bytheway.config import AutoConfig, ByTheWayConfig, config_from
from bytheway.errors import ByTheWayError, ByTheWayWarning, is_out_of_memory
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.clip import Clip, compared
from bytheway.generation.job import Job, PlannedClip, beyond_training, check, other_frames
from bytheway.generation.request import Request
from bytheway.generation.sample import Glimpse, Sampler, Step
from bytheway.models.profile import profile_of

OnStep: TypeAlias = Callable[[Step], None]

# Pipelines that a batch is being made with, and their schedulers; and who may change that.
_AT_WORK: Final[WeakSet[Any]] = WeakSet()
_ONE_BY_ONE: Final = Lock()


def generate(
    pipe: VideoPipeline, request: Request | str | Sequence[str], on_step: OnStep | None = None, **settings: Any
) -> Iterator[Clip]:
    """Make clips with a loaded pipeline, each handed out as soon as the batch that it is in is finished.

    The pipeline is left as it was, also when the run is broken off. Pipelines may be at work at once, each in a thread,
    also around one denoiser, but each with a scheduler of its own: that keeps the state of a run.

    Args:
        pipe: a diffusers pipeline of a family that is known, such as `bytheway.load` returns.
        request: a `Request`, or one prompt or several.
        on_step: hears of every denoising step; what it raises ends the run.
        settings: with prompts, the other fields of the request. The method's settings, `config`, are those of the
            pipeline's preset where they are not given; None leaves the method out. They may be a mapping, as for
            `apply_bytheway`, in which alpha, beta, tau and anchor_block may be "auto": those are found for this model
            and these frames, size and steps, once, from the first steps of eight vanilla clips.

    Raises:
        ByTheWayError: the request cannot be met; while the clips are made, also for a pipeline that is at work.

    >>> pipe = load("diorama")  # doctest: +SKIP
    >>> for clip in generate(pipe, "a red ball rolling to the right on grass", seed=1):  # doctest: +SKIP
    ...     clip.save("ball.mp4")
    """
    return make_clips(pipe, job_of(pipe, request, **settings), on_step)


def job_of(pipe: VideoPipeline, request: Request | str | Sequence[str], **settings: Any) -> Job:
    """What `generate` makes of its arguments, checked; what is made otherwise than asked for is said in a warning.

    Raises:
        ByTheWayError: the request cannot be met.
    """
    profile = profile_of(pipe)
    if not isinstance(request, Request):
        prompts = (request,) if isinstance(request, str) else tuple(request)
        request = _request(pipe, prompts, {"config": profile.preset.config, **settings})
    elif settings:
        raise ByTheWayError(f"The request says everything; put {', '.join(settings)} into it.")
    job = check(request, profile)
    for change in [*other_frames(job), *beyond_training(job)]:
        warnings.warn(change, ByTheWayWarning, stacklevel=3)
    return job


def _request(pipe: VideoPipeline, prompts: tuple[str, ...], settings: dict[str, Any]) -> Request:
    """The request for prompts; what its config leaves to the model is found."""
    config = settings.pop("config")
    if isinstance(config, Mapping):
        config = config_from(config, ByTheWayConfig())
    if not isinstance(config, AutoConfig):
        return Request(prompts, config=config, **settings)
    request = Request(prompts, config=config.base, auto=config.auto, **settings)
    return replace(request, config=config.resolve(pipe, request))


def make_clips(pipe: VideoPipeline, job: Job, on_step: OnStep | None = None) -> Iterator[Clip]:
    """Make the clips of a job, at most `batch_size` at once; a batch that does not fit the memory is made in halves.

    `pipe` and `on_step` are those of `generate`.
    """
    waiting, size = list(job.clips), job.request.batch_size
    while waiting:
        planned = tuple(waiting[:size])
        clips = _batch(pipe, job, planned, on_step or (lambda step: None))
        if clips is None:
            size = len(planned) // 2
            continue
        yield from clips
        del waiting[: len(planned)]


def shown_size(job: Job) -> tuple[int, int]:
    """Width and height, in pixels, of what is shown of the clips of a job."""
    if not job.request.compare:
        return job.width, job.height
    still = np.zeros((1, job.height, job.width, 3), dtype=np.uint8)
    height, width = compared(still, still).shape[1:3]
    return width, height


def _batch(pipe: VideoPipeline, job: Job, planned: tuple[PlannedClip, ...], on_step: OnStep) -> list[Clip] | None:
    """The clips of a batch; None where several need more memory than there is."""
    import torch

    try:
        with at_work(pipe):
            return clips_made(pipe, job, planned, on_step)
    except Exception as error:
        if len(planned) == 1 or not is_out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    return None


@contextmanager
def at_work(pipe: VideoPipeline) -> Iterator[None]:
    """Has the pipeline to itself, or refuses: two runs at once would go through one scheduler and both go wrong."""
    used = {pipe, pipe.scheduler}
    with _ONE_BY_ONE:
        if not used.isdisjoint(_AT_WORK):
            raise ByTheWayError(
                "This pipeline, or another with the same scheduler, is making other clips at the moment; wait until "
                "they are finished, or give each a scheduler of its own."
            )
        _AT_WORK.update(used)
    try:
        yield
    finally:
        with _ONE_BY_ONE:
            _AT_WORK.difference_update(used)


def clips_made(
    pipe: VideoPipeline,
    job: Job,
    planned: tuple[PlannedClip, ...],
    on_step: OnStep,
    on_glimpse: Callable[[Glimpse], None] | None = None,
    *,
    holds_process: bool = False,
) -> list[Clip]:
    """The clips of a batch, made at once; `on_glimpse` and `holds_process` are those of a `Sampler`."""
    sample = Sampler(pipe, job, planned, on_step, on_glimpse, holds_process)
    start = time.perf_counter()
    vanilla: Sequence[Frames | None] = sample(None)[0] if job.request.compare else [None] * len(planned)
    enhanced, record = sample(job.request.config)
    seconds = (time.perf_counter() - start) / len(planned)
    return [
        Clip(
            frames,
            beside,
            record,
            job.fps,
            seconds,
            # As many frames as there are, whatever the model was thought to make.
            settings_of(pipe, job, clip, len(planned)) | {"num_frames": len(frames)},
        )
        for frames, beside, clip in zip(enhanced, vanilla, planned, strict=True)
    ]


def settings_of(pipe: VideoPipeline, job: Job, clip: PlannedClip, batch_size: int) -> dict[str, Any]:
    """What makes a clip again, ready for JSON."""
    import torch

    request = job.request
    return {
        "prompt": clip.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": clip.seed,
        "num_frames": job.num_frames,
        "width": job.width,
        "height": job.height,
        "steps": job.steps,
        "guidance_scale": job.guidance_scale,
        "fps": job.fps,
        "scheduler": type(pipe.scheduler).__name__,
        "free_init": job.free_init_iterations is not None,
        "images": [f"{still.name}@{still.index(job.num_frames)}" for still in request.images],
        "video": job.video.name if job.video else None,
        "strength": job.strength,
        "compare": request.compare,
        "batch_size": batch_size,  # rounding differs with it
        "config": request.config.to_dict() if request.config else None,
        **({"auto": list(request.auto)} if request.auto else {}),
        "device": str(pipe.device),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "versions": {
            "bytheway": bytheway.__version__,
            "torch": torch.__version__,
            "diffusers": version("diffusers"),
            "python": platform.python_version(),
        },
    }
