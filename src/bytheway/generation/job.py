"""A request checked against a pipeline: what follows takes the job, and asks the pipeline nothing again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import Any, Final

from bytheway.clips.inputs import VideoInput
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.free_init import FREE_INIT_ITERATIONS
from bytheway.generation.request import Request
from bytheway.models.components import check_libraries
from bytheway.models.profile import Profile, profile_of

# What is warned of, see `beyond_training`.
_FAR: Final = 1.5
_LONGEST_SIDE: Final = 2


@dataclass(frozen=True)
class PlannedClip:
    """A clip that is to be made.

    Attributes:
        index: its number in the job, from 0.
        prompt: what it shows.
        seed: of its noise.
    """

    index: int
    prompt: str
    seed: int


@dataclass(frozen=True, eq=False)
class Job:
    """A request that the pipeline can meet, with everything filled in that it left open.

    Attributes:
        request: what was asked for.
        profile: of the pipeline.
        clips: what is to be made, in this order.
        num_frames: of a clip that is made.
        frames_asked: what the pipeline is asked for, so that it makes so many.
        width, height: in pixels.
        steps: denoising steps of the schedule.
        steps_run: how many of them are run: all but those that a run from a video begins after.
        guidance_scale: of the prompt.
        fps: frames a second.
        strength: how far the clips may go from a video; None where they start from none.
        free_init_iterations: how often the denoising is run under FreeInit; None without it.
        iterations: denoising runs of a clip, one after the other: those of FreeInit, or FramePack's sections.
        video: what the clips are made from, read as far as they need it.
        inputs: images or video at the size of the clips, as settings of the pipeline's call.
    """

    request: Request
    profile: Profile
    clips: tuple[PlannedClip, ...]
    num_frames: int
    frames_asked: int
    width: int
    height: int
    steps: int
    steps_run: int
    guidance_scale: float
    fps: float
    strength: float | None
    free_init_iterations: int | None
    iterations: int
    video: VideoInput | None
    inputs: Mapping[str, Any]


def check(request: Request, model: VideoPipeline | Profile) -> Job:
    """The job that meets a request: defaults filled in, images and video brought to the size of the clips.

    Args:
        request: what is asked for.
        model: the pipeline that is to meet it, or its profile.

    Raises:
        ByTheWayError: the pipeline cannot do what is asked for, or lacks what it starts from or a package.
    """
    profile = model if isinstance(model, Profile) else profile_of(model)
    check_libraries(profile.pipeline)
    _check_accepted(request, profile)
    defaults = profile.defaults
    num_frames, width, height = request.num_frames or defaults.num_frames, *_size(request, profile)
    steps, fps = request.steps or defaults.steps, float(defaults.fps)
    strength, video = request.strength, None
    if request.video is not None:
        video = request.video.reaching(num_frames)
        num_frames, fps = _frames_from(video, request.num_frames, num_frames, profile), video.fps
        strength = profile.call.defaults.get("strength") if strength is None else strength
    _check_limits(num_frames, steps, profile)
    frames_asked = num_frames
    if video is None:
        frames_asked = _asked_for(num_frames, profile)
        num_frames = profile.frames_made(frames_asked)
    steps_run = int(steps * (1.0 if strength is None else strength))
    if steps_run < 1:
        raise ByTheWayError(
            f"A strength of {strength:g} leaves none of {steps} steps; raise either.", setting="strength"
        )
    if video is not None:
        inputs = {"video": video.fitted(num_frames, width, height), "strength": strength}
    else:
        inputs = _images(request, profile, num_frames, width, height)
    free_init = profile.free_init_iterations or (FREE_INIT_ITERATIONS if request.free_init else None)
    seeds = range(request.seed, request.seed + request.num_videos)
    return Job(
        request=request,
        profile=profile,
        clips=tuple(PlannedClip(index, *each) for index, each in enumerate(product(request.prompts, seeds))),
        num_frames=num_frames,
        frames_asked=frames_asked,
        width=width,
        height=height,
        steps=steps,
        steps_run=steps_run,
        guidance_scale=defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale,
        fps=fps if request.fps is None else request.fps,
        strength=strength,
        free_init_iterations=free_init,
        iterations=free_init or profile.family.runs(frames_asked, profile.frames_per_latent),
        video=video,
        inputs=inputs,
    )


def other_frames(job: Job) -> list[str]:
    """A sentence where the model makes another number of frames than is asked for; none where it does not."""
    asked = job.request.num_frames or job.num_frames
    if job.video is not None or job.num_frames == asked:
        return []
    return [f"This model ({job.profile.pipeline}) makes {job.num_frames} frames where {asked} are asked for."]


def beyond_training(job: Job) -> list[str]:
    """A sentence where a clip is of another size or length than the model was made for; none where it is near enough.

    Far is: an area that differs by more than a factor of 1.5 from every size the model was made for, sides of more than
    2 to 1 where all of those are square, more frames than 1.5 times its longest clips, or, where frames have attention
    of their own, fewer than half of its shortest.
    """
    made, size = job.profile.made_for, (job.width, job.height)
    if made is None or not (_is_another_size(size, made.sizes) or _is_another_length(job, made.num_frames)):
        return []
    usual, asked = [], []
    if made.num_frames is not None:
        usual.append(f"{_alternatives(dict.fromkeys(made.num_frames))} frames")
        asked.append(f"{job.num_frames} frames")
    if made.sizes is not None:
        usual.append(_alternatives(dict.fromkeys(f"{width}x{height}" for width, height in made.sizes)))
        asked.append(f"{job.width}x{job.height}")
    return [
        f"This model ({job.profile.pipeline}) was made for {' of '.join(usual)}, and {' of '.join(asked)} are asked "
        "for, at which its clips may fall apart."
    ]


def _is_another_size(size: tuple[int, int], sizes: Collection[tuple[int, int]] | None) -> bool:
    if sizes is None:
        return False
    areas = [prod(size) / prod(one) for one in sizes]
    is_long = max(size) > _LONGEST_SIDE * min(size) and all(width == height for width, height in sizes)
    return is_long or all(not 1 / _FAR <= area <= _FAR for area in areas)


def _is_another_length(job: Job, lengths: Collection[int] | None) -> bool:
    if lengths is None:
        return False
    too_few = job.profile.has_temporal_maps and 2 * job.num_frames < min(lengths)
    return too_few or job.num_frames > _FAR * max(lengths)


def _alternatives(words: Iterable[object]) -> str:
    return " or ".join(map(str, words))


def changes_to_request(job: Job) -> list[str]:
    """What is made otherwise than asked for, or of other images or another video than were given, in sentences."""
    sizes = {still.name: still.image.size for still in job.request.images}
    said = other_frames(job)
    if job.video is not None:
        count, height, width, _ = job.video.frames.shape
        sizes[job.video.name] = width, height
        if count > job.num_frames:
            said.append(f"{job.video.name} is longer than the clip; its first {job.num_frames} frames are used.")
    wanted = f"{job.width}x{job.height}"
    given = {name: f"{width}x{height}" for name, (width, height) in sizes.items()}
    return said + [
        f"{name} is {size}; it is scaled and cut to {wanted}." for name, size in given.items() if size != wanted
    ]


def _size(request: Request, profile: Profile) -> tuple[int, int]:
    width, height = profile.defaults.size
    width, height = request.width or width, request.height or height
    if width % profile.size_unit or height % profile.size_unit:
        raise ByTheWayError(
            f"The size is {width}x{height}; both must be multiples of {profile.size_unit}.", setting="size"
        )
    return width, height


def _check_limits(num_frames: int, steps: int, profile: Profile) -> None:
    if profile.longest_clip and num_frames > profile.longest_clip:
        raise ByTheWayError(
            f"num_frames is {num_frames}; this model makes at most {profile.longest_clip} frames.",
            setting="num_frames",
        )
    if profile.longest_schedule is not None and steps > profile.longest_schedule:
        raise ByTheWayError(f"steps is {steps}; this model's schedule has {profile.longest_schedule}.", setting="steps")


def _asked_for(num_frames: int, profile: Profile) -> int:
    """What to ask for so that so many frames are made, where there is such a number; else that itself."""
    beyond = range(num_frames, num_frames + 2 * profile.frames_per_latent)
    numbers = chain(beyond, reversed(range(1, num_frames)))  # FramePack makes more than it is asked for
    return next((asked for asked in numbers if profile.frames_made(asked) == num_frames), num_frames)


def _frames_from(video: VideoInput, asked: int | None, most: int, profile: Profile) -> int:
    """How many frames a clip made from a video has: those asked for, or as many as there are, up to the `most`."""
    lengths = profile.lengths_from_video
    if asked is None:
        return lengths[max(bisect_right(lengths, min(most, len(video.frames))) - 1, 0)]
    if asked not in lengths:
        first, second, third = lengths[:3]
        raise ByTheWayError(
            f"num_frames is {asked}; from a video this model makes {first}, {second}, {third} frames and so on.",
            setting="num_frames",
        )
    return asked


def _check_accepted(request: Request, profile: Profile) -> None:
    """Raise ByTheWayError for what is asked for and not accepted, and for what is required and not given."""
    model = f"This model ({profile.pipeline})"
    if profile.requires("images") and profile.requires("video"):
        raise ByTheWayError(f"{model} starts from images and a video at once; use its pipeline in Python.")
    if request.images and not profile.accepts("images"):
        raise ByTheWayError(f"{model} takes no image; leave it out, or choose one that does.", setting="model")
    if request.video is not None and not profile.accepts("video"):
        raise ByTheWayError(f"{model} takes no video; leave it out, or choose one that does.", setting="model")
    if request.negative_prompt is not None and not profile.accepts("negative_prompt"):
        raise ByTheWayError(f"{model} takes no negative prompt; leave it out.", setting="negative_prompt")
    if request.free_init and not profile.supports_free_init:
        raise ByTheWayError(f"{model} cannot be run with FreeInit; leave it out.", setting="free_init")
    if request.record and not profile.has_temporal_maps:
        raise ByTheWayError(
            f"{model} has no temporal attention maps to measure; leave the record out.", setting="record"
        )
    if profile.requires("images") and not request.images:
        raise ByTheWayError(f"{model} starts from an image; give one.", setting="images")
    if profile.requires("video") and request.video is None:
        raise ByTheWayError(f"{model} starts from a video; give one.", setting="video")
    alone = _one_at_a_time(request, profile)
    if request.batch_size > 1 and alone is not None:
        raise ByTheWayError(f"{alone} one after the other; leave the batch size out.", setting="batch_size")


def _one_at_a_time(request: Request, profile: Profile) -> str | None:
    """Why the clips have to be made one after the other, as the beginning of a sentence; None where they need not."""
    if request.images or request.video is not None:
        return "Clips that start from images or a video are made"
    if request.record:
        return "Clips are recorded"
    return profile.one_at_a_time


def _images(request: Request, profile: Profile, num_frames: int, width: int, height: int) -> dict[str, Any]:
    """The images at the size of the clips, as settings of the pipeline's call."""
    images = {still.index(num_frames): still.fitted(width, height) for still in request.images}
    if len(images) < len(request.images):
        raise ByTheWayError("Two images are for the same frame; leave one of them out.", setting="images")
    if not images:
        return {}
    if profile.accepts("image_frames"):
        return {"images": list(images.values()), "image_frames": list(images)}
    each = profile.call.names["images"] == "conditioning_frames"
    if sorted(images) != (list(range(num_frames)) if each else [0]):
        wants = "an image for each of its frames" if each else "one image, for frame 0"
        raise ByTheWayError(f"This model ({profile.pipeline}) takes {wants}, and no others.", setting="images")
    ordered = [images[frame] for frame in sorted(images)]
    return {"images": ordered if each else ordered[0]}
