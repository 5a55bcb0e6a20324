"""What a declaration of a family of models says. Importing this imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bytheway.attention.layout import VideoTokens
from bytheway.config import ByTheWayConfig

if TYPE_CHECKING:
    from torch import Tensor

# The arguments of a call of a denoiser, by the names in its forward.
Inputs: TypeAlias = Mapping[str, Any]

# What clips start from beside the prompt.
Start: TypeAlias = Literal["image", "sketch", "video"]

UNMEASURED: Final = "unmeasured"

# What diffusers calls the blocks of a UNet, in the order in which they run.
UNET_STAGES: Final = ("transformer_in", "down_blocks", "mid_block", "up_blocks")
UNET_BLOCK: Final = r"down_blocks\.\d+|mid_block|up_blocks\.\d+"


@dataclass(frozen=True)
class Preset:
    """A config of the method, and how much is known of it.

    Attributes:
        name: by which people choose it.
        config: the config itself.
        source: who found it, and where that is written.
        figure: what was measured with it, in words; "unmeasured" where nothing was.
    """

    name: str
    config: ByTheWayConfig
    source: str
    figure: str = UNMEASURED

    @property
    def measured(self) -> bool:
        """Whether anybody has measured what it does; else it is a starting point."""
        return self.figure != UNMEASURED


@dataclass(frozen=True)
class TemporalAttentions:
    """Attention over the frames of each pixel by itself: the whole method.

    Attributes:
        pattern: matches the path of a temporal attention in the denoiser; its groups are `block` (the path of the block
            that it is in) and `transformer` (the path of the enclosing temporal transformer, which is called with
            hidden states (batch * frames, channels, height, width); empty for the denoiser itself, which cuts the
            latents into patches).
        stages: names of the lists of blocks in the order in which they run. With "up_blocks" among them the denoiser
            has decoder levels, one of which guides the later ones; without, the method is its motion part alone.
    """

    pattern: re.Pattern[str]
    stages: tuple[str, ...] = UNET_STAGES

    @property
    def has_levels(self) -> bool:
        """Whether there are decoder levels of which one can guide the others."""
        return "up_blocks" in self.stages


def _nothing_passed(config: Any, inputs: Inputs) -> dict[str, Tensor | None]:
    return {}


@dataclass(frozen=True)
class JointAttentions:
    """Attention over space, time and (some) text at once: motion enhancement alone, by the filter on V.

    Attributes:
        pattern: matches the paths of the self-attentions that the video goes through. Their value projection is
            `to_v` (of the video, or of the video and the text in one sequence), or the last third of a fused `to_qkv`;
            a text stream of its own (`add_v_proj`) is not touched.
        video_tokens: from the denoiser's config and the arguments of its call, where the video is in the sequence that
            `to_v` is called with.
        passed_values: from the same, the self-attentions of which this call takes the values themselves in the place of
            the output, by path, and for which entries of the batch, bool (batch,); None: for all of them.
    """

    pattern: re.Pattern[str]
    video_tokens: Callable[[Any, Inputs], VideoTokens]
    passed_values: Callable[[Any, Inputs], dict[str, Tensor | None]] = _nothing_passed


def _always(pipeline_config: Mapping[str, Any], denoiser_config: Mapping[str, Any]) -> bool:
    return True


@dataclass(frozen=True)
class MakersDefaults:
    """What the makers of a model use, where its pipeline's call and its denoiser say nothing of it or something else.

    Attributes:
        values: fields of `bytheway.models.GenerationDefaults`, by name.
        pipelines: how the names of the pipelines begin that they are for; "" for all of the family.
        applies: from the configurations of pipeline and denoiser, whether this is the model they are for.
    """

    values: Mapping[str, Any]
    pipelines: str = ""
    applies: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = _always


@dataclass(frozen=True)
class MadeFor:
    """What the makers of a model trained it on or say that it works at, beside its defaults.

    Attributes:
        sizes: width and height in pixels; None where any will do.
        num_frames: lengths of clips; None where any will do.
        pipelines, applies: of which models it holds, see `MakersDefaults`.
    """

    sizes: tuple[tuple[int, int], ...] | None = ()
    num_frames: tuple[int, ...] | None = ()
    pipelines: str = ""
    applies: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = _always


@dataclass(frozen=True)
class SamplerDefaults:
    """How the makers of motion modules sample with them.

    Attributes:
        scheduler: class of diffusers' scheduler.
        scheduler_config: what it is given beside the config of the base model's scheduler.
        steps, guidance_scale: of a run.
    """

    scheduler: str = "DDIMScheduler"
    # What AnimateDiff was trained with, and what its motion modules need of a base model's scheduler.
    scheduler_config: Mapping[str, Any] = field(
        default_factory=lambda: {
            "beta_schedule": "linear",
            "clip_sample": False,
            "steps_offset": 1,
            "timestep_spacing": "linspace",
        }
    )
    steps: int = 25
    guidance_scale: float = 7.5


@dataclass(frozen=True)
class KnownModel:
    """A model that people can call by a name: a packaged one, or of the hub, where `base` names the repository.

    That is an image model and a motion adapter for it, or a repository with one `checkpoint` file, which holds no
    vocabulary.

    Attributes:
        name: by which people choose it.
        description: what it is, in a line.
        start: what its clips start from beside the prompt, where it needs that.
        preset: name of its preset; None: the first of the family.
        measured: whether the preset's figure is of this model; else it is a starting point for this one.
        controlnet: SparseCtrl's weights, for a model that is given images.
        lora: LoRAs that belong to the adapter and the ControlNet, each as `bytheway.load` takes it.
        sampler: of an image model with a motion adapter.
        adapter_files: names under which the motion adapter is passed on as a single file.
    """

    name: str
    description: str
    start: Start | None = None
    preset: str | None = None
    measured: bool = False
    base: str | None = None
    motion_adapter: str | None = None
    checkpoint: str | None = None
    controlnet: str | None = None
    lora: tuple[str, ...] = ()
    sampler: SamplerDefaults = SamplerDefaults()
    adapter_files: tuple[str, ...] = ()


def whole_latents(num_frames: int, per_latent: int, denoiser_config: Mapping[str, Any]) -> int:
    """How many frames a clip has of which `num_frames` were asked for: what does not fill a latent frame is left out.

    The first latent frame stands for one frame, the others for `per_latent` each.
    """
    return (num_frames - 1) // per_latent * per_latent + 1


def _one_run(num_frames: int, per_latent: int) -> int:
    return 1


@dataclass(frozen=True)
class Family:
    """One family of video models: everything that is known of it.

    Attributes:
        name: as people write it.
        denoisers: class names of its denoisers.
        attentions: where they attend over time.
        presets: its configs, the one for the family first.
        pipelines: its pipelines' class names, and what people call the models that each runs.
        defaults: what its makers use; the first entry that applies counts.
        made_for: what it works at beside its defaults, as far as that is known; the first entry that applies counts.
        models: those known by name.
        from_video: the pipeline that starts from a video in the place of the one that does not.
        with_sparse_controlnet: the pipeline with SparseCtrl, which starts from images or sketches, likewise.
        other_meanings: settings by whose names a pipeline's call means something else than the others' do.
        optional_starts: "images" or "video" that a pipeline's call takes without needing it.
        frames_made: how many frames its pipelines make where so many are asked for, from the frames of a latent one and
            the denoiser's config.
        one_at_a_time: pipelines whose clips are others in a batch than alone, or that make no batches.
        runs: how many denoising runs its pipelines make of a clip, one after the other, where so many frames are asked
            for, from the frames of a latent one.
        requiring_ftfy: pipelines that clean prompts with the package ftfy, which diffusers is installed without.
        latent_frame_axis: where the frames are in the latents that its pipelines step, unless packed into tokens.
    """

    name: str
    denoisers: tuple[str, ...]
    attentions: TemporalAttentions | JointAttentions
    presets: tuple[Preset, ...]
    pipelines: Mapping[str, str] = field(default_factory=dict)
    defaults: tuple[MakersDefaults, ...] = ()
    made_for: tuple[MadeFor, ...] = ()
    models: tuple[KnownModel, ...] = ()
    from_video: Mapping[str, str] = field(default_factory=dict)
    with_sparse_controlnet: Mapping[str, str] = field(default_factory=dict)
    other_meanings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional_starts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frames_made: Callable[[int, int, Mapping[str, Any]], int] = whole_latents
    one_at_a_time: tuple[str, ...] = ()
    runs: Callable[[int, int], int] = _one_run
    requiring_ftfy: tuple[str, ...] = ()
    latent_frame_axis: int = 2
