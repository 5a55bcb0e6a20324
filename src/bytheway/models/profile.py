"""Everything that is asked of a pipeline, read off it once."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bytheway.errors import ByTheWayError
from bytheway.families.family import Family, JointAttentions, MadeFor, MakersDefaults, Preset, SamplerDefaults
from bytheway.families.known import denoiser_of, families, family_of, folder_of, preset_for, world_of
from bytheway.families.pipeline import VideoPipeline
from bytheway.families.tokens import patch_size
from bytheway.models.registry import known_model_of
from bytheway.models.signature import CallSignature, call_signature

if TYPE_CHECKING:
    from torch import nn

Declared = TypeVar("Declared", MadeFor, MakersDefaults)


@dataclass(frozen=True)
class GenerationDefaults:
    """The settings that suit a model best where nothing else is asked for.

    Attributes:
        num_frames: of a clip.
        size: width and height in pixels.
        steps: denoising steps.
        guidance_scale: of the prompt; 1 is no guidance.
        fps: frames a second.
        vocabulary: the words (lower case) that the model was trained on; None where it is a whole language.
    """

    num_frames: int = 16
    size: tuple[int, int] = (512, 512)
    steps: int = 25
    guidance_scale: float = 7.5
    fps: int = 8
    vocabulary: frozenset[str] | None = None


@dataclass(frozen=True)
class Profile:
    """What a pipeline is and what it can be asked for.

    Attributes:
        pipeline: name of its class.
        family: the family that it belongs to.
        denoiser: its first denoiser; none is compiled.
        preset: the method's settings for it.
        defaults: the settings that suit it best.
        made_for: the sizes and lengths that it was made for, its defaults among them; None where that is not known.
        call: what its call accepts and requires.
        pixels_per_latent: how many pixels a latent is wide and high.
        frames_per_latent: how many frames a latent one stands for, all but the first.
        patch: latent frames, rows and columns in a token of its denoiser; (1, 1, 1) for a UNet.
        longest_clip: how many frames it can make at most; None where it sets no limit, as with FreeNoise's windows.
        longest_schedule: how many steps it can run at most; None where its scheduler does not say.
        supports_free_init: whether it can be run with FreeInit.
        free_init_iterations: of the FreeInit that is on already; None where it is off.
        one_at_a_time: why its clips have to be made one after the other, as the beginning of a sentence; None where
            several can be made at once.
        draws_unseeded: whether a run may draw numbers from torch's global generator beside those of its own.
    """

    pipeline: str
    family: Family
    denoiser: nn.Module
    preset: Preset
    defaults: GenerationDefaults
    made_for: MadeFor | None
    call: CallSignature
    pixels_per_latent: int
    frames_per_latent: int
    patch: tuple[int, int, int]
    longest_clip: int | None
    longest_schedule: int | None
    supports_free_init: bool
    free_init_iterations: int | None
    one_at_a_time: str | None
    draws_unseeded: bool

    def accepts(self, setting: str) -> bool:
        """Whether its call has an argument for a setting, such as "negative_prompt", "images" or "video"."""
        return self.call.accepts(setting)

    def requires(self, start: str) -> bool:
        """Whether it cannot do without what its clips start from, "images" or "video"."""
        return start in self.call.required

    @property
    def has_temporal_maps(self) -> bool:
        """Whether it has maps of temporal attention, which can be recorded; joint attention has none."""
        return not isinstance(self.family.attentions, JointAttentions)

    @property
    def size_unit(self) -> int:
        """What width and height in pixels must be multiples of: latents, in the denoiser's patches, and of 8."""
        return math.lcm(8, self.pixels_per_latent * self.patch[-1])

    @property
    def lengths_from_video(self) -> range:
        """How many frames a clip that is made from a video can have.

        CogVideoX 1.5 fills the last patch of latent frames up where it makes a clip of nothing, and not here.
        """
        frames, scale = self.patch[0], self.frames_per_latent
        return range(1, sys.maxsize) if frames == 1 else range((frames - 1) * scale + 1, sys.maxsize, frames * scale)

    def latent_frames(self, num_frames: int) -> int:
        """How many latent frames a denoising run for a clip of so many frames has; FramePack's are sections of it."""
        runs = self.family.runs(num_frames, self.frames_per_latent)
        if runs > 1:
            return self.frames_made(num_frames) // self.frames_per_latent // runs
        return (num_frames - 1) // self.frames_per_latent + 1

    def frames_made(self, num_frames: int) -> int:
        """How many frames a clip that starts from no video has where so many are asked for."""
        return self.family.frames_made(num_frames, self.frames_per_latent, self.denoiser.config)  # type: ignore[arg-type]

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the model has never read; none for a model that knows a whole language."""
        known = self.defaults.vocabulary
        if known is None:
            return []
        words = re.findall(r"\w+(?:[\u2019']\w+)*", prompt.lower())
        return [word for word in dict.fromkeys(words) if word not in known]


# Under these names pipelines keep how many pixels a latent is wide.
_SCALES: Final = (
    "vae_scale_factor",
    "vae_scale_factor_spatial",
    "vae_spatial_scale_factor",
    "vae_spatial_compression_ratio",
)
# And under these, how many frames a latent one stands for.
_FRAME_SCALES: Final = ("vae_scale_factor_temporal", "vae_temporal_scale_factor", "vae_temporal_compression_ratio")
# Schedulers that draw the noise of all clips of a batch from one generator, which gives other clips than alone.
_OF_ONE_CLIP: Final = ("DPMSolverSDEScheduler",)
# Pipelines that hand the generator on to the scheduler have one of these, diffusers' and ours.
_HANDS_ON: Final = ("prepare_extra_step_kwargs", "_step_settings")
# Schedulers whose steps may be given a generator, and draw nothing but under these settings.
_DRAW_ONLY_WITH: Final[Mapping[str, Callable[[Mapping[str, Any]], bool]]] = {
    "FlowMatchEulerDiscreteScheduler": lambda config: bool(config.get("stochastic_sampling")),
    "DPMSolverMultistepScheduler": lambda config: "sde" in config["algorithm_type"],
}


def profile_of(pipe: VideoPipeline) -> Profile:
    """Read everything off a pipeline that is asked of it: its family, its defaults, what its call accepts.

    Raises:
        ByTheWayError: it makes no videos, its family is not known, or the `world.json` in its folder is damaged.

    >>> profile = profile_of(load("diorama"))  # doctest: +SKIP
    >>> profile.family.name, profile.defaults.size, profile.accepts("video")  # doctest: +SKIP
    ('AnimateDiff', (64, 64), False)
    """
    call, pipeline = call_signature(pipe), type(pipe).__name__
    if not (call.accepts("num_frames") or call.accepts("video")):
        if any(pipeline in family.pipelines for family in families()):
            raise ByTheWayError(
                f"This model ({pipeline}) starts from more than a prompt, images or one video; use its pipeline in "
                "Python, with apply_bytheway.",
                setting="model",
            )
        raise ByTheWayError(
            f"This model ({pipeline}) is asked for neither frames nor a video; give a video pipeline.", setting="model"
        )
    denoiser = denoiser_of(pipe)
    config: Mapping[str, Any] = denoiser.config  # type: ignore[assignment]
    family = family_of(denoiser)
    pixels_per_latent = _first(pipe, _SCALES)
    if pixels_per_latent is None:
        raise ByTheWayError(f"This model ({pipeline}) does not say how many pixels a latent is wide; use it in Python.")
    defaults = _defaults(pipe, family, config, call, pixels_per_latent)
    has_windows = getattr(pipe, "free_noise_enabled", False)
    return Profile(
        pipeline=pipeline,
        family=family,
        denoiser=denoiser,
        preset=preset_for(pipe),
        defaults=defaults,
        made_for=_made_for(pipe, family, config, defaults),
        call=call,
        pixels_per_latent=pixels_per_latent,
        frames_per_latent=_first(pipe, _FRAME_SCALES) or 1,
        patch=patch_size(config) if "patch_size" in config else (1, 1, 1),
        longest_clip=None if has_windows else config.get("motion_max_seq_length"),
        longest_schedule=getattr(getattr(pipe, "scheduler", None), "config", {}).get("num_train_timesteps"),
        supports_free_init=hasattr(pipe, "enable_free_init"),
        free_init_iterations=pipe._free_init_num_iters if getattr(pipe, "free_init_enabled", False) else None,
        one_at_a_time=_one_at_a_time(pipe, family, call),
        draws_unseeded=_draws_unseeded(pipe),
    )


def _first(pipe: VideoPipeline, names: Sequence[str]) -> int | None:
    """The whole number under the first of these names that the pipeline has; None where it has none of them."""
    return next((int(getattr(pipe, name)) for name in names if hasattr(pipe, name)), None)


def _defaults(
    pipe: VideoPipeline, family: Family, config: Mapping[str, Any], call: CallSignature, pixels_per_latent: int
) -> GenerationDefaults:
    """The settings that suit a pipeline best, from whoever knows them.

    These are the `world.json` in the folder the pipeline came from, or what it carries of one; the makers of its motion
    modules, at the size that the UNet is made for; for models of other kinds, what their makers use, else the defaults
    of the pipeline's call and its denoiser.
    """
    world = world_of(pipe)
    if world is not None:
        return _of_world(world, folder_of(pipe))
    size = _size(config, call, pixels_per_latent)
    if "motion_adapter" in pipe.config:
        known = known_model_of(pipe)
        sampler = known.sampler if known is not None else SamplerDefaults()
        return GenerationDefaults(size=size, steps=sampler.steps, guidance_scale=sampler.guidance_scale)
    plain, said = GenerationDefaults(), call.defaults
    called = GenerationDefaults(
        num_frames=said.get("num_frames") or config.get("num_frames") or config.get("sample_frames") or 16,
        size=size,
        steps=said.get("steps") or plain.steps,
        guidance_scale=said.get("guidance_scale") or plain.guidance_scale,
        fps=int(said.get("frame_rate") or plain.fps),
    )
    makers = _first_for(family.defaults, pipe, config)
    return called if makers is None else replace(called, **makers.values)


def _made_for(
    pipe: VideoPipeline, family: Family, config: Mapping[str, Any], defaults: GenerationDefaults
) -> MadeFor | None:
    """What a `world.json` says, else the declaration of the family; FreeNoise makes clips of any length."""
    found = MadeFor() if world_of(pipe) is not None else _first_for(family.made_for, pipe, config)
    if found is None:
        return None
    any_length = found.num_frames is None or getattr(pipe, "free_noise_enabled", False)
    return MadeFor(
        sizes=None if found.sizes is None else (defaults.size, *found.sizes),
        num_frames=None if any_length else (defaults.num_frames, *(found.num_frames or ())),
    )


def _first_for(declared: Sequence[Declared], pipe: VideoPipeline, config: Mapping[str, Any]) -> Declared | None:
    """The first entry of a declaration that is for this pipeline and denoiser."""
    name = type(pipe).__name__
    return next((one for one in declared if name.startswith(one.pipelines) and one.applies(pipe.config, config)), None)


def own_settings(pipe: VideoPipeline) -> dict[str, Any]:
    """What a pipeline is to carry as its model's own settings, in the form of a `world.json` without words."""
    defaults = asdict(profile_of(pipe).defaults)
    del defaults["vocabulary"]
    return {"defaults": defaults}


def _of_world(world: dict[str, Any], folder: Path | None) -> GenerationDefaults:
    try:
        width, height = world["defaults"]["size"]
        words = frozenset(world["words"]) if "words" in world else None
        made = GenerationDefaults(**world["defaults"] | {"size": (width, height)}, vocabulary=words)
    except (LookupError, TypeError, ValueError) as error:
        raise ByTheWayError(f"world.json of {folder} is damaged: it lacks settings or words.") from error
    wholes = (made.num_frames, width, height, made.steps, made.fps)
    of_a_kind = all(type(number) is int for number in wholes) and all(isinstance(word, str) for word in words or ())
    if not of_a_kind or type(made.guidance_scale) not in (int, float):
        raise ByTheWayError(f"world.json of {folder} is damaged: its settings are no numbers or its words no text.")
    return made


def _size(config: Mapping[str, Any], call: CallSignature, scale: int) -> tuple[int, int]:
    """Width and height in pixels.

    A denoiser that tells both is made for them; one number is often left from the class it was derived from, so that
    the pipeline's own default goes first.
    """
    sample = config.get("sample_size")
    sides = sample if isinstance(sample, (list, tuple)) else (config.get("sample_height"), config.get("sample_width"))
    if all(sides):
        height, width = sides
        return width * scale, height * scale
    width, height = call.defaults.get("width"), call.defaults.get("height")
    if width and height:
        return width, height
    return (sample * scale, sample * scale) if sample else GenerationDefaults().size


def _one_at_a_time(pipe: VideoPipeline, family: Family, call: CallSignature) -> str | None:
    model, scheduler = type(pipe).__name__, type(getattr(pipe, "scheduler", None)).__name__
    if getattr(pipe, "free_noise_enabled", False):
        return "FreeNoise makes clips"
    if scheduler in _OF_ONE_CLIP:
        return f"{scheduler} makes clips"
    if model in family.one_at_a_time or not call.accepts("prompt"):
        return f"This model ({model}) makes clips"
    return None


def _draws_unseeded(pipe: VideoPipeline) -> bool:
    """Whether its decoder makes noise (LTX-Video 0.9.1), or its scheduler does and is not handed the generator."""
    vae, scheduler = getattr(pipe, "vae", None), getattr(pipe, "scheduler", None)
    if any(getattr(vae, "config", {}).get("decoder_inject_noise") or ()):
        return True
    if scheduler is None or any(hasattr(pipe, name) for name in _HANDS_ON):
        return False
    draws = _DRAW_ONLY_WITH.get(type(scheduler).__name__)
    accepts = "generator" in inspect.signature(scheduler.step).parameters
    return accepts and (draws is None or draws(scheduler.config))
