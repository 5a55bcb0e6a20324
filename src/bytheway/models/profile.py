"""What a pipeline is best run with where nothing else is said, and the preset of the method's settings for it."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bytheway.errors import ByTheWayError
from bytheway.families.family import KnownModel, SchedulerSettings
from bytheway.families.known import denoiser_of, family_of, folder_of, world_of
from bytheway.models.registry import model_of_parts
from bytheway.models.signature import call_default

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class GenerationDefaults:
    """Settings of a run: frames, (width, height) in pixels, denoising steps, guidance scale, frames per second.

    `vocabulary` holds the words (lower case) that the model was trained on, None where it is a whole language.
    """

    num_frames: int = 16
    size: tuple[int, int] = (512, 512)
    steps: int = 25
    guidance_scale: float = 7.5
    fps: int = 8
    vocabulary: frozenset[str] | None = None


# Under these names pipelines keep how many pixels a latent is wide.
_SCALES: Final = (
    "vae_scale_factor",
    "vae_scale_factor_spatial",
    "vae_spatial_scale_factor",
    "vae_spatial_compression_ratio",
)
# And under these, how many frames a latent one stands for.
_FRAME_SCALES: Final = ("vae_scale_factor_temporal", "vae_temporal_scale_factor", "vae_temporal_compression_ratio")


def generation_defaults(pipe: DiffusionPipeline) -> GenerationDefaults:
    """The settings that suit a pipeline best, from whoever knows them.

    These are the `world.json` in the folder the pipeline came from; the makers of its motion modules, at the size that
    the UNet is made for; for models of other kinds, what their makers use, else the defaults of the pipeline's call and
    its denoiser.

    Raises:
        ByTheWayError: `world.json` is damaged.
    """
    world = world_of(pipe)
    if world is not None:
        return _of_world(world, folder_of(pipe))
    size = _size(pipe)
    if "motion_adapter" in pipe.config:
        known = known_model_of(pipe)
        sampling = known.sampling if known is not None else SchedulerSettings()
        return GenerationDefaults(size=size, steps=sampling.steps, guidance_scale=sampling.guidance_scale)
    plain = GenerationDefaults()
    trained = _denoiser_config(pipe)
    called = GenerationDefaults(
        num_frames=call_default(pipe, "num_frames") or trained.get("num_frames") or trained.get("sample_frames") or 16,
        size=size,
        steps=call_default(pipe, "steps") or plain.steps,
        guidance_scale=call_default(pipe, "guidance_scale") or plain.guidance_scale,
        fps=int(call_default(pipe, "frame_rate") or plain.fps),
    )
    name, trained = type(pipe).__name__, _denoiser_config(pipe)
    makers = (
        one.settings
        for one in family_of(denoiser_of(pipe)).defaults
        if name.startswith(one.pipelines) and one.applies(pipe.config, trained)
    )
    return replace(called, **next(makers, {}))


def _of_world(world: dict[str, Any], folder: Path | None) -> GenerationDefaults:
    try:
        width, height = world["defaults"]["size"]
        words = frozenset(world["words"])
        made = GenerationDefaults(**world["defaults"] | {"size": (width, height)}, vocabulary=words)
    except (LookupError, TypeError, ValueError) as error:
        raise ByTheWayError(f"world.json of {folder} is damaged: it lacks settings or words.") from error
    wholes = (made.num_frames, width, height, made.steps, made.fps)
    of_a_kind = all(type(number) is int for number in wholes) and all(isinstance(word, str) for word in words)
    if not of_a_kind or type(made.guidance_scale) not in (int, float):
        raise ByTheWayError(f"world.json of {folder} is damaged: its settings are no numbers or its words no text.")
    return made


def known_model_of(pipe: Any) -> KnownModel | None:
    """The known model whose motion adapter and ControlNet the pipeline has, None for one that is not known."""
    adapter, controlnet = (_origin(getattr(pipe, part, None)) for part in ("motion_adapter", "controlnet"))
    return None if adapter is None else model_of_parts(adapter, controlnet)


def pixels_per_latent(pipe: Any) -> int:
    """How many pixels a latent of the pipeline's VAE is wide and high."""
    return next(int(getattr(pipe, name)) for name in _SCALES if hasattr(pipe, name))


def latent_frames(pipe: Any, num_frames: int) -> int:
    """How many latent frames a clip has; all but the first stand for several each, where the VAE compresses time."""
    return (num_frames - 1) // _frame_scale(pipe) + 1


def lengths_from_video(pipe: Any) -> range:
    """How many frames a clip that is made from a video can have.

    CogVideoX 1.5 fills the last patch of latent frames up where it makes a clip of nothing, and not here.
    """
    patch, scale = _denoiser_config(pipe).get("patch_size_t") or 1, _frame_scale(pipe)
    return range(1, sys.maxsize) if patch == 1 else range((patch - 1) * scale + 1, sys.maxsize, patch * scale)


def size_unit(pipe: Any) -> int:
    """What width and height in pixels must be multiples of: latents, in the patches of a transformer, and of 8."""
    patch = _denoiser_config(pipe).get("patch_size", 1)
    return math.lcm(8, pixels_per_latent(pipe) * (patch if isinstance(patch, int) else patch[-1]))


def longest_clip(pipe: Any) -> int | None:
    """How many frames the model can make at most; None where it sets no limit, as with FreeNoise's windows."""
    windows = getattr(pipe, "free_noise_enabled", False)
    return None if windows else _denoiser_config(pipe).get("motion_max_seq_length")


def _size(pipe: Any) -> tuple[int, int]:
    """Width and height in pixels.

    A denoiser that tells both is made for them; one number is often left from the class it was derived from, so that
    the pipeline's own default goes first.
    """
    config, scale = _denoiser_config(pipe), pixels_per_latent(pipe)
    sample = config.get("sample_size")
    sides = sample if isinstance(sample, (list, tuple)) else (config.get("sample_height"), config.get("sample_width"))
    if all(sides):
        height, width = sides
        return width * scale, height * scale
    width, height = call_default(pipe, "width"), call_default(pipe, "height")
    if width and height:
        return width, height
    return (sample * scale, sample * scale) if sample else GenerationDefaults().size


def _frame_scale(pipe: Any) -> int:
    return next((int(getattr(pipe, name)) for name in _FRAME_SCALES if hasattr(pipe, name)), 1)


def _denoiser_config(pipe: Any) -> Any:
    return denoiser_of(pipe).config


def _origin(component: Any) -> str | None:
    return None if component is None else component.config.get("_name_or_path")
