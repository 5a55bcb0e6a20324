"""What a pipeline is best run with where nothing else is said, and the preset of the method's settings for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bytheway.models.registry import PACKAGED, packaged_folder
from bytheway.models.sources import read_json

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


# By the name of the class; any other pipeline has AnimateDiff's. VideoCrafter2 has those of its own script, which tells
# the denoiser of 28 frames a second and saves 10.
_OF_PIPELINES = {"VideoCrafterPipeline": GenerationDefaults(size=(512, 320), steps=50, guidance_scale=12.0, fps=10)}


def generation_defaults(pipe: DiffusionPipeline) -> GenerationDefaults:
    """The settings in the `world.json` of the folder the pipeline came from, else the model's with the UNet's size
    where it has one.

    Raises:
        ByTheWayError: `world.json` is damaged.
    """
    folder = _folder(pipe)
    world = read_json(str(folder), "world.json") if folder is not None else None
    if world is not None:
        settings = dict(world["defaults"])
        settings["size"] = tuple(settings["size"])
        return GenerationDefaults(**settings, vocabulary=frozenset(world["words"]))
    defaults = _OF_PIPELINES.get(type(pipe).__name__, GenerationDefaults())
    sample_size = pipe.unet.config.sample_size
    if sample_size is None:
        return defaults
    height, width = sample_size if isinstance(sample_size, (list, tuple)) else (sample_size, sample_size)
    size = width * pipe.vae_scale_factor, height * pipe.vae_scale_factor
    return replace(defaults, size=size)


def preset_for(pipe: Any) -> str:
    """The preset of the method's settings (a key of `bytheway.config.PRESETS`) for a pipeline or a bare denoiser.

    Raises:
        ByTheWayError: the pipeline's architecture is not known.
    """
    from bytheway.sites import architecture_of, denoiser_of

    preset = architecture_of(denoiser_of(pipe)).preset
    return PACKAGED if _folder(pipe) == packaged_folder() else preset


def _folder(pipe: Any) -> Path | None:
    """The local folder that the pipeline was loaded from, None when it came from elsewhere."""
    path = Path(str(pipe.config.get("_name_or_path", "")))
    return path if path.is_dir() else None
