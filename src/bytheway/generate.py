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
from bytheway.arguments import arguments, call_default, needs, takes
from bytheway.conditioning import Footage, Still
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.models import generation_defaults
from bytheway.models.defaults import longest_clip, size_unit
from bytheway.video import Frames, as_frames, side_by_side

if TYPE_CHECKING:
    from bytheway.apply import Run
    from bytheway.record import Record

Variant = Literal["vanilla", "enhanced"]


@dataclass(frozen=True)
class Request:
    """What to generate; None takes the model's own default.

    Attributes:
        prompts: one clip is made of each, `num_videos` where more are wanted; models that read no prompts (Stable Video
            Diffusion) use it as a name.
        seed: of the first clip of every prompt, in [0, 2^63); the next one has seed + 1, and so on. A clip depends on
            its own prompt and seed alone, whatever else is made with it.
        config: settings of the method; None: the pipeline is used as it is.
        compare: make every clip twice from the same seed, as the pipeline is and with the method.
        free_init: FreeInit with three iterations, for comparison; where the pipeline has it on, it keeps its own.
        record: keep what the method measures (`Clip.record`); without `config` it only observes.
        images: what the clips show, or follow, in some of their frames.
        video: what the clips are made from, frame by frame.
        strength: how far the clips may go from the video, in (0, 1]: that share of the steps is run.
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
    images: tuple[Still, ...] = ()
    video: Footage | None = None
    strength: float | None = None

    def __post_init__(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ByTheWayError("The prompt is empty; say what the clip shall show.")
        for name in ("num_videos", "num_frames", "width", "height", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ByTheWayError(f"{name} is {value}; it must be at least 1.")
        if not 0 <= self.seed <= 2**63 - self.num_videos:
            raise ByTheWayError(f"seed is {self.seed}; it must lie between 0 and 2^63 - {self.num_videos}.")
        if self.compare and self.config is None:
            raise ByTheWayError("A comparison needs the method's settings; give them, or leave the comparison out.")
        if self.images and self.video is not None:
            raise ByTheWayError("A clip starts from images or from a video, not from both; leave one of them out.")
        if self.strength is not None and self.video is None:
            raise ByTheWayError("A strength says how far a clip may go from a video; give the video.")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ByTheWayError(f"strength is {self.strength:g}; it must be greater than 0 and at most 1.")

    @property
    def steps_run(self) -> int:
        """How many of the denoising steps are run: all but those that a run from a video begins after."""
        return int((self.steps or 1) * (1.0 if self.strength is None else self.strength))


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
    _check_taken(request, pipe)
    defaults = generation_defaults(pipe)
    width, height = defaults.size
    video = request.video
    strength = call_default(pipe, "strength") if video is not None else None
    request = replace(
        request,
        num_frames=request.num_frames or min(defaults.num_frames, len(video.frames) if video else defaults.num_frames),
        width=request.width or width,
        height=request.height or height,
        steps=request.steps or defaults.steps,
        guidance_scale=defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale,
        fps=(video.fps if video else float(defaults.fps)) if request.fps is None else request.fps,
        strength=strength if request.strength is None else request.strength,
    )
    unit = size_unit(pipe)
    if any(side % unit for side in (request.width, request.height) if side):
        raise ByTheWayError(f"The size is {request.width}x{request.height}; both must be multiples of {unit}.")
    longest = longest_clip(pipe)
    if longest and request.num_frames and request.num_frames > longest:
        raise ByTheWayError(f"num_frames is {request.num_frames}; this model makes at most {longest} frames.")
    if request.steps_run < 1:
        raise ByTheWayError(f"A strength of {request.strength:g} leaves none of {request.steps} steps; raise either.")
    _conditions(request, pipe)
    return request


def _check_taken(request: Request, pipe: Any) -> None:
    """Raise ByTheWayError for what is asked for and the pipeline does not take, and for what it needs and lacks."""
    model = type(pipe).__name__
    if needs(pipe, "images") and needs(pipe, "video"):
        raise ByTheWayError(f"This model ({model}) starts from images and a video at once; use its pipeline in Python.")
    if request.images and not takes(pipe, "images"):
        raise ByTheWayError(f"This model ({model}) takes no image; leave it out, or choose one that does.")
    if request.video is not None and not takes(pipe, "video"):
        raise ByTheWayError(f"This model ({model}) takes no video; leave it out, or choose one that does.")
    if request.negative_prompt is not None and not takes(pipe, "negative_prompt"):
        raise ByTheWayError(f"This model ({model}) takes no negative prompt; leave it out.")
    if request.free_init and not hasattr(pipe, "enable_free_init"):
        raise ByTheWayError(f"This model ({model}) cannot be run with FreeInit; leave it out.")
    if request.record and _is_joint(pipe):
        raise ByTheWayError(f"This model ({model}) has no temporal attention maps to measure; leave the record out.")
    if needs(pipe, "images") and not request.images:
        raise ByTheWayError(f"This model ({model}) starts from an image; give one (--image).")
    if needs(pipe, "video") and request.video is None:
        raise ByTheWayError(f"This model ({model}) starts from a video; give one (--video).")


def _is_joint(pipe: Any) -> bool:
    from bytheway.architectures import architecture_of
    from bytheway.joint import JointArchitecture
    from bytheway.sites import denoiser_of

    return isinstance(architecture_of(denoiser_of(pipe)), JointArchitecture)


def _conditions(request: Request, pipe: Any) -> dict[str, Any]:
    """Images and video of a complete request as settings of the pipeline's call."""
    num_frames, *size = _shape(request)
    if request.video is not None:
        return {"video": request.video.fitted(num_frames, *size), "strength": request.strength}
    images = {still.index(num_frames): still.fitted(*size) for still in request.images}
    if len(images) < len(request.images):
        raise ByTheWayError("Two images are for the same frame; leave one of them out.")
    if takes(pipe, "image_frames"):
        return {"images": list(images.values()), "image_frames": list(images)} if images else {}
    each = takes(pipe, "images") == "conditioning_frames"
    if images and sorted(images) != (list(range(num_frames)) if each else [0]):
        wants = "an image for each of its frames" if each else "one image, for frame 0"
        raise ByTheWayError(f"This model ({type(pipe).__name__}) takes {wants}, and no others.")
    ordered = [images[frame] for frame in sorted(images)]
    return {"images": ordered if each else ordered[0]} if images else {}


def _shape(request: Request) -> tuple[int, int, int]:
    """Frames, width and height of a complete request."""
    return request.num_frames or 0, request.width or 0, request.height or 0


def changes_to_inputs(request: Request) -> list[str]:
    """What is done to the images or the video of a complete request before a clip starts from them, in sentences."""
    num_frames, *wanted = _shape(request)
    sizes = {still.name: still.image.size for still in request.images}
    said = []
    if request.video is not None:
        count, height, width, _ = request.video.frames.shape
        sizes[request.video.name] = width, height
        if count > num_frames:
            said.append(f"{request.video.name} has {count} frames; the first {num_frames} are used.")
    cut = {name: f"{width}x{height}" for name, (width, height) in sizes.items() if [width, height] != wanted}
    return said + [f"{name} is {size}; it is scaled and cut to {wanted[0]}x{wanted[1]}." for name, size in cut.items()]


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
        with (
            _free_init(self.pipe, request.free_init) as iterations,
            _own_randomness(self.pipe, self.seed),
            _text_model(self.pipe),
            self._method(config) as run,
        ):
            settings = {
                "prompt": self.prompt,
                "negative_prompt": request.negative_prompt,
                "num_frames": request.num_frames,
                "height": request.height,
                "width": request.width,
                "steps": request.steps,
                "guidance_scale": request.guidance_scale,
                "generator": torch.Generator("cpu").manual_seed(self.seed),
                "output_type": "np",
                **_conditions(request, self.pipe),
                **self._callbacks(config, iterations),
            }
            result = self.pipe(**arguments(self.pipe, settings))
        return as_frames(result.frames[0]), run.record if run else None

    def _method(self, config: ByTheWayConfig | None) -> AbstractContextManager[Run | None]:
        from bytheway.apply import enhanced, observe

        if config is not None:
            return enhanced(self.pipe, config, record=self.request.record)
        return observe(self.pipe) if self.request.record and not self.request.compare else nullcontext()

    def _callbacks(self, config: ByTheWayConfig | None, iterations: int) -> dict[str, Callable[..., Any]]:
        """What the pipeline calls after its steps, in the new way or the old one; some call nothing."""
        from bytheway.window import count_active

        variant: Variant = "enhanced" if config else "vanilla"
        iteration = -1

        def tell(done: int, steps: int) -> None:
            active = count_active(config.active_steps, steps) if config else 0
            step = Step(self.index, self.prompt, self.seed, variant, done, steps, active, max(iteration, 0), iterations)
            self.on_step(step)

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
def _free_init(pipe: Any, wanted: bool) -> Iterator[int]:
    """FreeInit switched on for a while where wanted and not on already; yields how often the denoising is then run."""
    if _has_free_init(pipe) or not wanted:
        yield pipe._free_init_num_iters if _has_free_init(pipe) else 1
        return
    pipe.enable_free_init(num_iters=3)
    try:
        yield 3
    finally:
        pipe.disable_free_init()


def _has_free_init(pipe: Any) -> bool:
    return getattr(pipe, "free_init_enabled", False)


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
        "free_init": request.free_init or _has_free_init(pipe),
        "images": [f"{still.name}@{still.index(_shape(request)[0])}" for still in request.images],
        "video": request.video.name if request.video else None,
        "strength": request.strength,
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
