"""Runs that wait after their active steps, and go on or are given up: many clips are begun, and some are finished.

Pipelines of diffusers cannot begin in the middle, but their calls can wait: each run is a call in a thread of its own,
held within the last active step of its scheduler, and one of all threads works at a time. What waits is what the call
holds, latents and embeddings; the model is shared. So it works whatever a pipeline does within its call, and the clip
is bit for bit the one of its seed alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import copy_context
from copy import copy, deepcopy
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

import torch

from bytheway.apply.foreign import keeps_state_of_run
from bytheway.attention.tiles import release_memory
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoisers_of
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job, PlannedClip
from bytheway.generation.run import OnStep, at_work, clips_made
from bytheway.generation.sample import Glimpse, needs_whole_process, whole_process

_GO_ON: Final = True
_STOP: Final = False


class _Stopped(BaseException):
    """Ends a run that is given up: no handler of errors is meant."""


class PausedRun:
    """One clip of a job, by itself: it runs up to the end of its active steps, waits, and is finished or stopped.

    Whoever has several of them, in one thread, lets one work at a time. While it waits the pipeline is free for others.
    """

    def __init__(self, pipe: VideoPipeline, job: Job, clip: PlannedClip, on_step: OnStep) -> None:
        """
        Args:
            pipe: is left alone; the run has a shallow copy of it, with a scheduler of its own.
            job: what is made.
            clip: of the job.
            on_step: hears of every step, in the thread of the run.
        """
        self._pipe, self._own = pipe, _own_pipeline(pipe)
        self._job, self._clip, self._on_step = job, clip, on_step
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._reports: SimpleQueue[Glimpse | Clip | BaseException] = SimpleQueue()
        self._stopping = False
        self._generators: list[torch.Tensor] | None = None
        self._seconds = 0.0
        self._thread = Thread(target=copy_context().run, args=(self._run, _surroundings()), daemon=True)

    def start(self) -> Glimpse:
        """Run the active steps; what is seen of the clip after them.

        Raises:
            ByTheWayError: the run cannot be made, or never reaches the end of its active steps.
        """
        report = self._work(self._begin)
        if not isinstance(report, Glimpse):
            raise ByTheWayError(
                f"This model ({self._job.profile.pipeline}) takes no step with its scheduler, so that its runs cannot "
                "wait; make its clips without choosing among them."
            )
        return report

    def finish(self) -> Clip:
        """Run the other steps; the clip."""
        report = self._work(lambda: self._orders.put(_GO_ON))
        assert isinstance(report, Clip)
        return replace(report, seconds=self._seconds)

    def stop(self) -> None:
        """Give the run up, wherever it is, and wait until it has let go of everything."""
        self._stopping = True
        if self._thread.is_alive():
            self._orders.put(_STOP)
            self._thread.join()

    # -------------------------------------------------------------------------------------- of whoever has the runs

    def _begin(self) -> None:
        # A model that is offloaded begins every run from where it waits, as if no other were under way.
        self._own.maybe_free_model_hooks()
        self._thread.start()

    def _work(self, hand_over: Callable[[], None]) -> Glimpse | Clip:
        """Let the run work until it waits or ends."""
        with at_work(self._pipe), whole_process(self._job), self._own_generators():
            begun = time.perf_counter()
            hand_over()
            report = self._reports.get()
            self._seconds += time.perf_counter() - begun
        if isinstance(report, BaseException):
            raise report
        return report

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        """torch's global generators as this run left them, where it draws from them; afterwards as they were."""
        if not needs_whole_process(self._job):
            yield
            return
        device = self._own._execution_device
        before = _generator_states(device)
        if self._generators is not None:
            _set_generator_states(device, self._generators)
        try:
            yield
        finally:
            self._generators = _generator_states(device)
            _set_generator_states(device, before)

    # ------------------------------------------------------------------------------------------ in the run's thread

    def _run(self, surroundings: Callable[[], AbstractContextManager[None]]) -> None:
        try:
            with surroundings():
                clips = clips_made(self._own, self._job, (self._clip,), self._on_step, self._see, holds_process=True)
            self._reports.put(clips[0])
        except _Stopped:
            pass
        except BaseException as error:
            self._reports.put(error)

    def _see(self, glimpse: Glimpse) -> None:
        if self._stopping:
            raise _Stopped
        if glimpse.done != glimpse.active:
            return
        release_memory()
        self._reports.put(glimpse)
        if self._orders.get() is _STOP:
            raise _Stopped


def check_can_wait(pipe: VideoPipeline, job: Job) -> None:
    """Raise ByTheWayError where runs of this pipeline cannot wait while others go on, or make more than one pass."""
    model = f"This model ({job.profile.pipeline})"
    if job.iterations > 1:
        reason = "FreeInit" if job.free_init_iterations else model
        raise ByTheWayError(
            f"{reason} denoises a clip {job.iterations} times, of which the first steps of the first say too little; "
            "make the clips without choosing among them.",
            setting="free_init" if job.free_init_iterations else None,
        )
    if hasattr(pipe, "pag_applied_layers"):
        raise ByTheWayError(
            f"{model} changes its attention for the length of a run (PAG), so that none can wait for another; make its "
            "clips without choosing among them."
        )
    if any(keeps_state_of_run(denoiser) for denoiser in denoisers_of(pipe)):
        raise ByTheWayError(
            f"{model} has a cache on that keeps the state of the run in its modules, so that no run can wait for "
            "another; take the cache off."
        )


def _own_pipeline(pipe: VideoPipeline) -> Any:
    """The same modules, with a state of the call and a scheduler of its own; bars of waiting runs would be a mess."""
    own: Any = copy(pipe)
    own.scheduler = deepcopy(pipe.scheduler)
    own.set_progress_bar_config(disable=True)
    return own


def _surroundings() -> Callable[[], AbstractContextManager[None]]:
    """What torch keeps for each thread and a run goes by, as it is in the present one, to be had in another."""
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    casts = {kind: torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)}
    stream = torch.cuda.current_stream() if torch.cuda.is_initialized() else None

    @contextmanager
    def entered() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(inference))
            stack.enter_context(torch.set_grad_enabled(gradients))
            for kind, dtype in casts.items():
                stack.enter_context(torch.autocast(kind, dtype))
            if stream is not None:
                stack.enter_context(torch.cuda.stream(stream))
            yield

    return entered


def _generator_states(device: torch.device) -> list[torch.Tensor]:
    """Of torch's global generators, the CPU's and that of the device."""
    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.get_device_module(device).get_rng_state(device)]


def _set_generator_states(device: torch.device, states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.get_device_module(device).set_rng_state(state, device)
