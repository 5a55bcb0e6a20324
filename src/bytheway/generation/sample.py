"""One call of a pipeline: a batch of clips, each from its own prompt and seed."""

from __future__ import annotations

import linecache
import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from bytheway.clips.frames import Frames, as_frames
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.generation.request import Request, conditions
from bytheway.models.signature import arguments
from bytheway.models.sources import first_line

if TYPE_CHECKING:
    from bytheway.apply.api import Run
    from bytheway.record import Record

Variant = Literal["vanilla", "enhanced"]

FREE_INIT_ITERATIONS: Final = 3


@dataclass(frozen=True)
class Take:
    """A clip to be made: its number in the run, from 0, its prompt and its seed."""

    index: int
    prompt: str
    seed: int


@dataclass(frozen=True)
class Step:
    """Where a run is: `done` of `steps` denoising steps of an iteration of one variant of the clips made at once."""

    takes: tuple[Take, ...]
    variant: Variant
    done: int
    steps: int
    active: int  # the method acts in this many steps from the first on
    iteration: int  # of FreeInit, from 0; without it there is one
    iterations: int


@dataclass(frozen=True)
class Sampler:
    """Calls the pipeline for a batch of clips of a complete request; the steps are told to `on_step`."""

    pipe: Any
    request: Request
    takes: tuple[Take, ...]
    on_step: Callable[[Step], None]

    def __call__(self, config: ByTheWayConfig | None) -> tuple[list[Frames], Record | None]:
        """The clips, with the method's settings or without the method, and the record where one is kept."""
        import torch

        request, takes = self.request, self.takes
        negative = request.negative_prompt is not None
        with (
            free_init(self.pipe) if request.free_init else nullcontext(),
            _own_randomness(self.pipe, takes[0].seed),
            _text_model(self.pipe),
            self._method(config) as run,
            _refusals_said(self.pipe),
        ):
            settings = {
                "prompt": _each([take.prompt for take in takes]),
                "negative_prompt": _each([request.negative_prompt] * len(takes)) if negative else None,
                "num_frames": request.num_frames,
                "height": request.height,
                "width": request.width,
                "steps": request.steps,
                "guidance_scale": request.guidance_scale,
                "frame_rate": request.fps,
                "generator": _each([torch.Generator("cpu").manual_seed(take.seed) for take in takes]),
                "output_type": "np",
                **conditions(request, self.pipe),
                **self._callbacks(config, _iterations(self.pipe)),
            }
            result = self.pipe(**arguments(self.pipe, settings))
        return [as_frames(video) for video in result.frames[: len(takes)]], run.record if run else None

    def _method(self, config: ByTheWayConfig | None) -> AbstractContextManager[Run | None]:
        from bytheway.apply.api import enhanced, observe

        if config is not None:
            return enhanced(self.pipe, config, record=self.request.record)
        return observe(self.pipe) if self.request.record and not self.request.compare else nullcontext()

    def _callbacks(self, config: ByTheWayConfig | None, iterations: int) -> dict[str, Callable[..., Any]]:
        """What the pipeline calls after its steps, in the new way or the old one; some call nothing."""
        from bytheway.apply.steps import count_active

        variant: Variant = "enhanced" if config else "vanilla"
        iteration = -1

        def tell(done: int, steps: int) -> None:
            active = count_active(config.active_steps, steps) if config else 0
            self.on_step(Step(self.takes, variant, done, steps, active, max(iteration, 0), iterations))

        def on_step_end(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal iteration
            iteration += index == 0
            calls, order = pipe.num_timesteps, pipe.scheduler.order
            steps = math.ceil(calls / order)
            tell(steps if index == calls - 1 else (index + 1) // order, steps)
            return tensors

        def on_step(step: int, timestep: Any, latents: Any) -> None:
            tell(step + 1, self.request.steps_run)

        tell(0, self.request.steps_run)
        return {"on_step_end": on_step_end, "on_step": on_step}


def _each(values: list[Any]) -> Any:
    """What the call of a pipeline is given for several videos; for one it is given the value itself."""
    return values if len(values) > 1 else values[0]


@contextmanager
def _own_randomness(pipe: Any, seed: int) -> Iterator[None]:
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
def _text_model(pipe: Any) -> Iterator[None]:
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
def _refusals_said(pipe: Any) -> Iterator[None]:
    """Turns what diffusers says in a run of settings or a configuration that it does not take into a `ByTheWayError`.

    Errors that it does not raise by a statement of its own, and those of its callbacks, stay what they are.
    """
    try:
        yield
    except ValueError as error:
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        statement = linecache.getline(frame.f_code.co_filename, line).strip()
        if not (frame.f_globals.get("__name__", "").startswith("diffusers.") and statement.startswith("raise ")):
            raise
        raise ByTheWayError(f"This model ({type(pipe).__name__}) cannot be run so: {first_line(error)}") from error


@contextmanager
def free_init(pipe: Any, iterations: int = FREE_INIT_ITERATIONS) -> Iterator[None]:
    """FreeInit switched on for a while; a pipeline that has it on already keeps its own."""
    if has_free_init(pipe):
        yield
        return
    pipe.enable_free_init(num_iters=iterations)
    try:
        yield
    finally:
        pipe.disable_free_init()


def has_free_init(pipe: Any) -> bool:
    """Whether FreeInit is on."""
    return getattr(pipe, "free_init_enabled", False)


def _iterations(pipe: Any) -> int:
    """How often the denoising is run."""
    return pipe._free_init_num_iters if has_free_init(pipe) else 1
