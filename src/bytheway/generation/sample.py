"""One call of a pipeline: a batch of clips, each from its own prompt and seed."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock, RLock
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bytheway.clips.frames import Frames, NotFiniteError, as_frames
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.free_init import free_init
from bytheway.generation.job import Job, PlannedClip
from bytheway.generation.not_finite import explained
from bytheway.generation.scheduler_steps import SchedulerStep, watched
from bytheway.models.sources import first_line

if TYPE_CHECKING:
    from bytheway.apply.api import Run
    from bytheway.record import Record

Variant: TypeAlias = Literal["vanilla", "enhanced"]


@dataclass(frozen=True)
class Step:
    """Where a run is.

    Attributes:
        clips: those that are made at once.
        variant: which of the two variants of them.
        done: denoising steps of this iteration that are finished.
        steps: all of its denoising steps.
        active: how many of them, from the first on, the method acts in.
        iteration: number of the denoising run of these clips, from 0; FreeInit and FramePack make several.
        iterations: how many there are.
        record: what was recorded so far; None where nothing is.
        latents: as they are after the step, on their device; None before the first.
    """

    clips: tuple[PlannedClip, ...]
    variant: Variant
    done: int
    steps: int
    active: int
    iteration: int
    iterations: int
    record: Record | None = None
    latents: Any = None


@dataclass(frozen=True)
class Glimpse:
    """What can be seen of a clip when its scheduler has taken a step.

    Attributes:
        done: calls of the scheduler's step so far; one of order 2 has two in a step.
        active: how many of them belong to the active steps, or where the method is left out to those of the preset.
        record: what was recorded so far; None where nothing is.
        step: what the scheduler was given, and what it gave back.
    """

    done: int
    active: int
    record: Record | None
    step: SchedulerStep


# Tokenizers keep how they pad from one call to the next, and pipelines that are at work at once may share one.
_PREPARING: Final = Lock()
# Torch's global generator, and the attributes of text encoders that pipelines may share.
_PROCESS_WIDE: Final = RLock()


@dataclass(frozen=True)
class Sampler:
    """Calls the pipeline for some clips of a job at once; the steps are told to `on_step`.

    Attributes:
        on_glimpse: is called after each step of the scheduler, before the pipeline goes on; the scheduler has to be
            this run's own. Where the method is off, nothing is recorded any more after the active steps.
        holds_process: whoever calls has the state of the whole process already (`whole_process`).
    """

    pipe: VideoPipeline
    job: Job
    clips: tuple[PlannedClip, ...]
    on_step: Callable[[Step], None]
    on_glimpse: Callable[[Glimpse], None] | None = None
    holds_process: bool = False

    def __call__(self, config: ByTheWayConfig | None) -> tuple[list[Frames], Record | None]:
        """The clips, with the method's settings or without the method, and the record where one is kept."""
        import torch

        job, clips = self.job, self.clips
        negative = job.request.negative_prompt
        with (
            free_init(self.pipe) if job.request.free_init else nullcontext(),
            self._process_wide_state(),
            ExitStack() as method,
            _refusals_said(self.pipe),
            ExitStack() as preparing,
        ):
            run = method.enter_context(self._method(config))
            record = run.record if run else None
            settings = {
                "prompt": _each([clip.prompt for clip in clips]),
                "negative_prompt": None if negative is None else _each([negative] * len(clips)),
                "num_frames": job.frames_asked,
                "height": job.height,
                "width": job.width,
                "steps": job.steps,
                "guidance_scale": job.guidance_scale,
                "frame_rate": job.fps,
                "generator": _each([torch.Generator("cpu").manual_seed(clip.seed) for clip in clips]),
                "output_type": "np",
                **job.inputs,
                **self._callbacks(config, record, preparing.close),
            }
            preparing.enter_context(_PREPARING)
            with self._glimpses(run, method if config is None else None, preparing.close):
                result = self.pipe(**job.profile.call.arguments(settings))
        try:
            return [as_frames(video) for video in result.frames[: len(clips)]], record
        except NotFiniteError as error:
            raise explained(error, self.pipe) from error

    @contextmanager
    def _process_wide_state(self) -> Iterator[None]:
        """What some pipelines need of the whole process, which one thread has at a time; most need nothing of it."""
        if not needs_whole_process(self.job):
            yield
            return
        lock = nullcontext() if self.holds_process else whole_process(self.job)
        with lock, _own_randomness(self.pipe, self.clips[0].seed), _text_model(self.pipe):
            yield

    def _method(self, config: ByTheWayConfig | None) -> AbstractContextManager[Run[Record | None] | None]:
        from bytheway.apply.api import enhanced, observe

        if config is not None:
            return enhanced(self.pipe, config, record=self.job.request.record)
        return observe(self.pipe) if self.job.request.record and not self.job.request.compare else nullcontext()

    @contextmanager
    def _glimpses(
        self, run: Run[Record | None] | None, observing: ExitStack | None, prepared: Callable[[], None]
    ) -> Iterator[None]:
        """Lets `on_glimpse` see what the scheduler does; ends the observing after the active steps."""
        from bytheway.apply.steps import count_active

        on_glimpse, scheduler = self.on_glimpse, self.pipe.scheduler
        if on_glimpse is None:
            yield
            return
        share = (self.job.request.config or self.job.profile.preset.config).active_steps
        done = 0

        def see(step: SchedulerStep) -> None:
            nonlocal done
            prepared()
            done += 1
            # The method counts what the pipeline runs, which it says only then; without it the job has to do.
            steps = run.steps.active_steps if run is not None else count_active(share, self.job.steps_run)
            active = steps * scheduler.order
            if observing is not None and done == active:
                observing.close()
            on_glimpse(Glimpse(done, active, run.record if run else None, step))

        with watched(scheduler, see):
            yield

    def _callbacks(
        self, config: ByTheWayConfig | None, record: Record | None, prepared: Callable[[], None]
    ) -> dict[str, Callable[..., Any]]:
        """What the pipeline calls after its steps, in the new way or the old one; some call nothing.

        With the first of these calls everything before the steps is `prepared`.
        """
        from bytheway.apply.steps import count_active

        variant: Variant = "enhanced" if config else "vanilla"
        iteration, iterations = -1, self.job.iterations

        def tell(done: int, steps: int, latents: Any = None) -> None:
            active = count_active(config.active_steps, steps) if config else 0
            self.on_step(Step(self.clips, variant, done, steps, active, max(iteration, 0), iterations, record, latents))

        def on_step_end(pipe: VideoPipeline, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal iteration
            prepared()
            iteration += index == 0
            calls, order = pipe.num_timesteps, pipe.scheduler.order
            steps = math.ceil(calls / order)
            tell(steps if index == calls - 1 else (index + 1) // order, steps, tensors.get("latents"))
            return tensors

        def on_step(step: int, timestep: Any, latents: Any) -> None:
            prepared()
            tell(step + 1, self.job.steps_run, latents)

        tell(0, self.job.steps_run)
        return {"on_step_end": on_step_end, "on_step": on_step}


def needs_whole_process(job: Job) -> bool:
    """Whether the clips of a job draw from torch's global generator, which one run has at a time."""
    return bool(job.inputs or job.profile.one_at_a_time or job.profile.draws_unseeded)


@contextmanager
def whole_process(job: Job) -> Iterator[None]:
    """What some pipelines need of the whole process, for the present thread alone while the block runs."""
    with _PROCESS_WIDE if needs_whole_process(job) else nullcontext():
        yield


def _each(values: list[Any]) -> Any:
    """What the call of a pipeline is given for several videos; for one it is given the value itself."""
    return values if len(values) > 1 else values[0]


@contextmanager
def _own_randomness(pipe: VideoPipeline, seed: int) -> Iterator[None]:
    """What a pipeline draws without its generator (SparseCtrl's latents of the images) depends on the seed as well.

    It is another stream than the generator's, and torch's own is left as it was.
    """
    import torch

    device = pipe._execution_device
    accelerators = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=accelerators, device_type=device.type):
        torch.default_generator.manual_seed(~seed)
        # Not torch.manual_seed, which seeds devices too that have no part in this.
        for one in accelerators:
            torch.get_device_module(one).set_rng_state(torch.Generator(one).manual_seed(~seed).get_state(), one)
        yield


@contextmanager
def _text_model(pipe: VideoPipeline) -> Iterator[None]:
    """CLIP's text encoder under the name that pipelines look in for its last norm, where transformers has it no more.

    I2VGenXL's skips a layer by default and then needs that norm. The name is none of a submodule: nothing else sees it.
    """
    encoder = getattr(pipe, "text_encoder", None)
    if encoder is None or hasattr(encoder, "text_model") or not hasattr(encoder, "final_layer_norm"):
        yield
        return
    vars(encoder)["text_model"] = encoder
    try:
        yield
    finally:
        del vars(encoder)["text_model"]


@contextmanager
def _refusals_said(pipe: VideoPipeline) -> Iterator[None]:
    """Turns what the pipeline's check of its inputs refuses, or its scheduler, into a `ByTheWayError`.

    Errors from elsewhere, among them those of callbacks, stay what they are.
    """
    try:
        yield
    except ValueError as error:
        if not any(_may_refuse(frame, pipe) for frame, _ in traceback.walk_tb(error.__traceback__)):
            raise
        raise ByTheWayError(f"This model ({type(pipe).__name__}) cannot be run so: {first_line(error)}") from error


def _may_refuse(frame: FrameType, pipe: VideoPipeline) -> bool:
    """Whether a function that an error came through checks inputs, is the scheduler's own, or sets its timesteps."""
    checks = getattr(type(pipe), "check_inputs", None)
    scheduler = getattr(pipe, "scheduler", None)
    return frame.f_code is getattr(checks, "__code__", None) or (
        scheduler is not None and any(frame.f_locals.get(name) is scheduler for name in ("self", "scheduler"))
    )
