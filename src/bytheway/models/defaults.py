"""What a pipeline is best run with where nothing else is said, and the preset of the method's settings for it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bytheway.arguments import call_default
from bytheway.errors import ByTheWayError
from bytheway.models.registry import PACKAGED, KnownModel, Sampling, model_of_parts, packaged_folder
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


class _Makers(NamedTuple):
    """What the makers of a model use, where its pipeline's call and its denoiser say nothing of it or something else.

    Attributes:
        pipelines: the first words of the names of its pipelines.
        settings: fields of `GenerationDefaults`.
        of: whether it is this model, among those with such pipelines.
    """

    pipelines: str
    settings: Mapping[str, Any]
    of: Callable[[Any], bool] = lambda pipe: True


# The first that fits counts. Sources: the models' cards, and the scripts that their makers published beside them.
_MAKERS: Final = (
    _Makers("VideoCrafter", {"fps": 10}),
    _Makers("StableVideoDiffusion", {"fps": 7}),
    _Makers("I2VGenXL", {"fps": 16}),
    # CogVideoX 1.5. The size in its configuration is the farthest that its positions reach.
    _Makers(
        "CogVideoX",
        {"num_frames": 81, "size": (1360, 768), "fps": 16},
        lambda pipe: _denoiser_config(pipe).get("patch_size_t") is not None,
    ),
    # Wan 2.2 TI2V 5B.
    _Makers(
        "Wan",
        {"num_frames": 121, "size": (1280, 704), "fps": 24},
        lambda pipe: bool(pipe.config.get("expand_timesteps")),
    ),
    _Makers("Wan", {"num_frames": 81, "fps": 16}),
    # HunyuanVideo 1.5, made for 720 lines or for 480.
    _Makers(
        "HunyuanVideo15",
        {"size": (1280, 720), "fps": 24},
        lambda pipe: bool(_denoiser_config(pipe).target_size >= 960),
    ),
    _Makers("HunyuanVideo15", {"size": (848, 480), "fps": 24}),
    _Makers("HunyuanVideo", {"fps": 24}),
    _Makers("LTX2", {"num_frames": 121}),
    _Makers("Mochi", {"num_frames": 85, "size": (848, 480), "fps": 30}),
)
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

    These are the `world.json` in the folder the pipeline came from; the makers of its motion modules (`Sampling`), at
    the size that the UNet is made for; for models of other kinds, what their makers use, else the defaults of the
    pipeline's call and its denoiser.

    Raises:
        ByTheWayError: `world.json` is damaged.
    """
    folder = _folder(pipe)
    world = read_json(str(folder), "world.json") if folder is not None else None
    if world is not None:
        return _of_world(world, folder)
    size = _size(pipe)
    if "motion_adapter" in pipe.config:
        known = known_model_of(pipe)
        sampling = known.sampling if known is not None else Sampling()
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
    name = type(pipe).__name__
    makers = (makers.settings for makers in _MAKERS if name.startswith(makers.pipelines) and makers.of(pipe))
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


def preset_for(pipe: Any) -> str:
    """The preset of the method's settings (a key of `bytheway.config.PRESETS`) for a pipeline or a bare denoiser.

    Raises:
        ByTheWayError: the pipeline's architecture is not known.
    """
    from bytheway.architectures import architecture_of
    from bytheway.sites import denoiser_of

    preset = architecture_of(denoiser_of(pipe)).preset
    return PACKAGED if _folder(pipe) == packaged_folder() else preset


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
    from bytheway.sites import denoiser_of

    return denoiser_of(pipe).config


def _origin(component: Any) -> str | None:
    return None if component is None else component.config.get("_name_or_path")


def _folder(pipe: Any) -> Path | None:
    """The local folder that the pipeline was loaded from, None when it came from elsewhere."""
    name = pipe.config.get("_name_or_path")
    return Path(name) if name and Path(name).is_dir() else None
