"""What is asked of a run from prompts to clips, completed from the model and checked against it.

Importing this does not import torch, so that a request is checked before anybody waits for it.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Any, Final

from bytheway.clips.inputs import ImageInput, VideoInput
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.family import JointAttentions
from bytheway.families.known import denoiser_of, family_of
from bytheway.models import generation_defaults
from bytheway.models.profile import lengths_from_video, longest_clip, size_unit
from bytheway.models.signature import call_default, needs, takes

# What Python makes of bytes on the command line that are no UTF-8.
_UNDECODED: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Request:
    """What to generate; None takes the model's own default.

    Attributes:
        prompts: one clip is made of each, `num_videos` where more are wanted; models that read no prompts (Stable Video
            Diffusion) use it as a name.
        seed: of the first clip of every prompt, in [0, 2^63); the next one has seed + 1, and so on. A clip depends on
            its own prompt and seed alone, but for rounding that differs between batches of different sizes.
        config: settings of the method; None: the pipeline is used as it is.
        compare: make every clip twice from the same seed, as the pipeline is and with the method.
        free_init: FreeInit with three iterations, for comparison; where the pipeline has it on, it keeps its own.
        record: keep what the method measures (`Clip.record`); without `config` it only observes.
        batch_size: how many clips to make at once, at most; None: what pays and fits (`bytheway.generation.batches`).
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
    batch_size: int | None = None
    images: tuple[ImageInput, ...] = ()
    video: VideoInput | None = None
    strength: float | None = None

    def __post_init__(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ByTheWayError("The prompt is empty; say what the clip shall show.")
        for prompt in (*self.prompts, self.negative_prompt or ""):
            if _UNDECODED.search(prompt):
                raise ByTheWayError(f"The prompt {prompt!r} is no text in UTF-8; write it anew.")
        for name in ("num_videos", "num_frames", "width", "height", "steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ByTheWayError(f"{name} is {value}; it must be at least 1.")
        # In float32, and the longest there can be: memory is counted in 63 bits.
        if 3 * 4 * math.prod(side or 1 for side in (self.num_frames, self.width, self.height)) >= 2**63:
            raise ByTheWayError("A clip of so many frames or pixels fits into no memory; ask for fewer.")
        if self.guidance_scale is not None and not 0 <= self.guidance_scale < math.inf:
            raise ByTheWayError(f"guidance_scale is {self.guidance_scale:g}; it must be a finite number of at least 0.")
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


def complete(request: Request, pipe: Any) -> Request:
    """The request with the model's defaults where it leaves something open, checked against the model."""
    _check_taken(request, pipe)
    defaults = generation_defaults(pipe)
    width, height = defaults.size
    num_frames = request.num_frames or defaults.num_frames
    video = None if request.video is None else request.video.reaching(num_frames)
    if video is not None:
        num_frames = _frames_from(video, request.num_frames, num_frames, pipe)
    strength = call_default(pipe, "strength") if video is not None else None
    request = replace(
        request,
        video=video,
        num_frames=num_frames,
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
    trained = getattr(getattr(pipe, "scheduler", None), "config", {}).get("num_train_timesteps")
    if trained is not None and request.steps and request.steps > trained:
        raise ByTheWayError(f"steps is {request.steps}; this model's schedule has {trained}.")
    if request.steps_run < 1:
        raise ByTheWayError(f"A strength of {request.strength:g} leaves none of {request.steps} steps; raise either.")
    conditions(request, pipe)
    return request


def _frames_from(video: VideoInput, asked: int | None, most: int, pipe: Any) -> int:
    """How many frames a clip made from a video has: those asked for, or as many as there are, up to the `most`."""
    lengths = lengths_from_video(pipe)
    if asked is None:
        return lengths[max(bisect_right(lengths, min(most, len(video.frames))) - 1, 0)]
    if asked not in lengths:
        first, second, third = lengths[:3]
        raise ByTheWayError(
            f"num_frames is {asked}; from a video this model makes {first}, {second}, {third} frames and so on."
        )
    return asked


def _check_taken(request: Request, pipe: Any) -> None:
    """Raise ByTheWayError for what is asked for and the pipeline does not take, and for what it needs and lacks."""
    model = type(pipe).__name__
    if not any(takes(pipe, setting) for setting in ("num_frames", "video")):
        raise ByTheWayError(f"This model ({model}) is asked for neither frames nor a video; give a video pipeline.")
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
    return isinstance(family_of(denoiser_of(pipe)).attentions, JointAttentions)


def conditions(request: Request, pipe: Any) -> dict[str, Any]:
    """Images and video of a complete request as settings of the pipeline's call."""
    num_frames, *size = shape(request)
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


def shape(request: Request) -> tuple[int, int, int]:
    """Frames, width and height of a complete request."""
    return request.num_frames or 0, request.width or 0, request.height or 0


def changes_to_inputs(request: Request) -> list[str]:
    """What is done to the images or the video of a complete request before a clip starts from them, in sentences."""
    num_frames, *wanted = shape(request)
    sizes = {still.name: still.image.size for still in request.images}
    said = []
    if request.video is not None:
        count, height, width, _ = request.video.frames.shape
        sizes[request.video.name] = width, height
        if count > num_frames:
            said.append(f"{request.video.name} is longer than the clip; its first {num_frames} frames are used.")
    cut = {name: f"{width}x{height}" for name, (width, height) in sizes.items() if [width, height] != wanted}
    return said + [f"{name} is {size}; it is scaled and cut to {wanted[0]}x{wanted[1]}." for name, size in cut.items()]


def unknown_words(pipe: Any, prompt: str) -> list[str]:
    """The words of a prompt that the model has never read; none for a model that knows a whole language."""
    known = generation_defaults(pipe).vocabulary
    if known is None:
        return []
    return [word for word in dict.fromkeys(re.findall(r"\w+(?:[\u2019']\w+)*", prompt.lower())) if word not in known]
