"""A run from prompts to clips: what is asked of it, and what comes out. The command line and others build on it.

Importing this does not import torch, so that a request is checked before anybody waits for it.
"""

from __future__ import annotations

import math
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import bytheway
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.models import generation_defaults
from bytheway.video import Frames, as_frames, side_by_side

if TYPE_CHECKING:
    from bytheway.apply import Run
    from bytheway.record import Record

Variant = Literal["vanilla", "enhanced"]


@dataclass(frozen=True)
class Request:
    """What to generate; None takes the model's own default.

    Attributes:
        prompts: one clip is made of each, `num_videos` where more are wanted.
        seed: of the first clip of every prompt, in [0, 2^63); the next one has seed + 1, and so on. A clip depends on
            its own prompt and seed alone, whatever else is made with it.
        config: settings of the method; None: the pipeline is used as it is.
        compare: make every clip twice from the same seed, as the pipeline is and with the method.
        free_init: FreeInit with three iterations, for comparison; where the pipeline has it on, it keeps its own.
        record: keep what the method measures (`Clip.record`); without `config` it only observes.
    """

    prompts: tuple[str, ...]
    seed: int
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

    def __post_init__(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ByTheWayError("The prompt is empty; say what the clip shall show.")
        for name in ("num_videos", "num_frames", "width", "height", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ByTheWayError(f"{name} is {value}; it must be at least 1.")
        if not 0 <= self.seed < 2**63:
            raise ByTheWayError(f"seed is {self.seed}; it must lie between 0 and 2^63 - 1.")
        if self.compare and self.config is None:
            raise ByTheWayError("A comparison needs the method's settings; give them, or leave the comparison out.")


@dataclass(frozen=True)
class Step:
    """Where a run is: `done` of `steps` denoising steps of an iteration of one variant of one clip."""

    clip: int
    prompt: str
    seed: int
    variant: Variant
    done: int
    steps: int
    active: int  # the method acts in this many steps from the first on
    iteration: int  # of FreeInit, from 0; without it there is one
    iterations: int


@dataclass(frozen=True)
class Clip:
    """A finished clip, and everything that is needed to make it again (`settings`, ready for JSON)."""

    frames: Frames
    vanilla: Frames | None  # the same seed without the method, where asked for
    record: Record | None
    fps: float
    seconds: float
    settings: dict[str, Any]

    def shown(self) -> Frames:
        """The clip itself, or both variants side by side."""
        if self.vanilla is None:
            return self.frames
        return side_by_side([("vanilla", self.vanilla), ("enhanced", self.frames)])


def generate(pipe: Any, request: Request, on_step: Callable[[Step], None] = lambda step: None) -> Iterator[Clip]:
    """Make the clips one after the other, each handed out as soon as it is finished.

    `pipe` is a loaded diffusers pipeline; it is left as it was, also when the run is broken off. `on_step` hears of
    every denoising step; what it raises ends the run. Raises ByTheWayError for a request that cannot be met.
    """
    request = complete(request, pipe)
    seeds = [(prompt, request.seed + video) for prompt in request.prompts for video in range(request.num_videos)]
    for index, (prompt, seed) in enumerate(seeds):
        make = _Sampler(pipe, request, index, prompt, seed, on_step)
        start = time.perf_counter()
        vanilla = make(None)[0] if request.compare else None
        frames, record = make(request.config)
        seconds = time.perf_counter() - start
        settings = _settings(pipe, request, prompt, seed)
        yield Clip(frames, vanilla, record, settings["fps"], seconds, settings)


def complete(request: Request, pipe: Any) -> Request:
    """The request with the model's defaults where it leaves something open, checked against the model."""
    defaults = generation_defaults(pipe)
    width, height = defaults.size
    request = replace(
        request,
        num_frames=request.num_frames or defaults.num_frames,
        width=request.width or width,
        height=request.height or height,
        steps=request.steps or defaults.steps,
        guidance_scale=defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale,
        fps=float(defaults.fps) if request.fps is None else request.fps,
    )
    unit = math.lcm(8, pipe.vae_scale_factor)
    if any(side % unit for side in (request.width, request.height) if side):
        raise ByTheWayError(f"The size is {request.width}x{request.height}; both must be multiples of {unit}.")
    longest = getattr(pipe.unet.config, "motion_max_seq_length", None)
    if longest and request.num_frames > longest and not pipe.free_noise_enabled:
        raise ByTheWayError(f"num_frames is {request.num_frames}; this model makes at most {longest} frames.")
    return request


def unknown_words(pipe: Any, prompt: str) -> list[str]:
    """The words of a prompt that the model has never read; none for a model that knows a whole language."""
    known = generation_defaults(pipe).vocabulary
    if known is None:
        return []
    return [word for word in dict.fromkeys(re.findall(r"\w+(?:[\u2019']\w+)*", prompt.lower())) if word not in known]


@dataclass(frozen=True)
class _Sampler:
    pipe: Any
    request: Request
    index: int
    prompt: str
    seed: int
    on_step: Callable[[Step], None]

    def __call__(self, config: ByTheWayConfig | None) -> tuple[Frames, Record | None]:
        """One clip, with the method's settings or without the method."""
        import torch

        request = self.request
        with _free_init(self.pipe, request.free_init) as iterations, self._method(config) as run:
            result = self.pipe(
                prompt=self.prompt,
                negative_prompt=request.negative_prompt,
                num_frames=request.num_frames,
                height=request.height,
                width=request.width,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(self.seed),
                callback_on_step_end=self._callback(config, iterations),
                output_type="np",
            )
        return as_frames(result.frames[0]), run.record if run else None

    def _method(self, config: ByTheWayConfig | None) -> AbstractContextManager[Run | None]:
        from bytheway.apply import enhanced, observe

        if config is not None:
            return enhanced(self.pipe, config, record=self.request.record)
        return observe(self.pipe) if self.request.record and not self.request.compare else nullcontext()

    def _callback(self, config: ByTheWayConfig | None, iterations: int) -> Callable[..., dict[str, Any]]:
        from bytheway.window import count_active

        variant: Variant = "enhanced" if config else "vanilla"
        iteration = -1

        def tell(done: int, steps: int) -> None:
            active = count_active(config.active_steps, steps) if config else 0
            step = Step(self.index, self.prompt, self.seed, variant, done, steps, active, max(iteration, 0), iterations)
            self.on_step(step)

        def callback(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal iteration
            iteration += index == 0
            calls, order = pipe.num_timesteps, pipe.scheduler.order
            steps = math.ceil(calls / order)
            tell(steps if index == calls - 1 else (index + 1) // order, steps)
            return tensors

        tell(0, self.request.steps or 1)
        return callback


@contextmanager
def _free_init(pipe: Any, wanted: bool) -> Iterator[int]:
    """FreeInit switched on for a while where wanted and not on already; yields how often the denoising is then run."""
    if pipe.free_init_enabled or not wanted:
        yield pipe._free_init_num_iters if pipe.free_init_enabled else 1
        return
    pipe.enable_free_init(num_iters=3)
    try:
        yield 3
    finally:
        pipe.disable_free_init()


def _settings(pipe: Any, request: Request, prompt: str, seed: int) -> dict[str, Any]:
    import torch

    return {
        "prompt": prompt,
        "negative_prompt": request.negative_prompt,
        "seed": seed,
        "num_frames": request.num_frames,
        "width": request.width,
        "height": request.height,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "fps": request.fps,
        "scheduler": type(pipe.scheduler).__name__,
        "free_init": request.free_init or pipe.free_init_enabled,
        "compare": request.compare,
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
