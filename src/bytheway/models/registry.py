"""The models known by name: where each comes from, and whether it is on this machine already."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from bytheway.models.sources import hub_file_of

PACKAGED = "diorama"
# CLIP's, which OpenCLIP has too.
VOCABULARY = "openai/clip-vit-large-patch14"
EARLY = "diorama-early"
VOCABULARY_FILES = ("tokenizer.json", "vocab.json")
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


@dataclass(frozen=True)
class Sampling:
    """How the makers of motion modules sample with them.

    Attributes:
        scheduler, settings: class of diffusers' scheduler, and what it is given beside the base model's settings.
        steps, guidance_scale: of a run.
    """

    scheduler: str = "DDIMScheduler"
    # What AnimateDiff was trained with, and what its motion modules need of a base model's scheduler.
    settings: Mapping[str, Any] = field(
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
    """A model that `load` takes by name: the packaged one, or of the hub, where `base` names the repository.

    That is an image model and a motion adapter for it, or a repository with one `checkpoint` file, which holds no
    vocabulary.

    Attributes:
        measured: whether the preset's settings were found on this model, by the paper or by us; else they are a
            starting point.
        controlnet: SparseCtrl's weights, for a model that is given images.
        lora: LoRAs that belong to the adapter and the ControlNet, each as `load` takes it.
        sampling: of an image model with a motion adapter.
        adapter_files: names under which the motion adapter is passed on as a single file.
    """

    name: str
    architecture: str
    preset: str
    description: str
    measured: bool = False
    base: str | None = None
    motion_adapter: str | None = None
    checkpoint: str | None = None
    controlnet: str | None = None
    lora: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    adapter_files: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the weights come from, in words."""
        if self.base is not None and self.checkpoint is not None:
            return f"{self.base} ({self.checkpoint})"
        parts = [part for part in (self.base, self.motion_adapter, self.controlnet) if part is not None]
        return " + ".join(parts) or "in the package"

    @property
    def preset_in_words(self) -> str:
        """The preset, and whether it was found on this model."""
        return self.preset if self.measured else f"{self.preset} (starting point)"

    @property
    def present(self) -> bool:
        """Whether the weights are in the package or in the local hub cache. Never touches the network."""
        if self.base is not None and self.checkpoint is not None:
            return _cached(self.base, self.checkpoint) and any(_cached(VOCABULARY, file) for file in VOCABULARY_FILES)
        if self.base is None:
            return all(file.is_file() for file in packaged_files(self.name))
        return (
            _cached(self.base, "model_index.json")
            and any(_cached(self.base, f"unet/{weights}") for weights in _WEIGHTS)
            and all(_has_weights(part) for part in self._beside_the_base)
        )

    @property
    def _beside_the_base(self) -> list[str]:
        """The adapter, the ControlNet and the LoRAs, without their weights."""
        loras = [lora.partition("=")[0] for lora in self.lora]
        return [part for part in (self.motion_adapter, self.controlnet, *loras) if part is not None]


_REALISTIC_VISION = "SG161222/Realistic_Vision_V5.1_noVAE"
_EPIC_REALISM = "emilianJR/epiCRealism"
_V3 = "guoyww/animatediff-motion-adapter-v1-5-3"
_V3_LORA = "guoyww/animatediff-motion-lora-v1-5-3"


def _lightning(steps: int) -> KnownModel:
    """AnimateDiff-Lightning (Lin and Yang, arXiv 2403.12706): one file for each number of steps."""
    return KnownModel(
        name="animatediff-lightning" if steps == 4 else f"animatediff-lightning-{steps}step",
        architecture="AnimateDiff",
        preset="animatediff",
        description=f"AnimateDiff-Lightning on epiCRealism: distilled to {steps} steps without guidance",
        base=_EPIC_REALISM,
        motion_adapter=f"ByteDance/AnimateDiff-Lightning:animatediff_lightning_{steps}step_diffusers.safetensors",
        sampling=Sampling(
            scheduler="EulerDiscreteScheduler",
            settings={"beta_schedule": "linear", "timestep_spacing": "trailing"},
            steps=steps,
            guidance_scale=1.0,
        ),
        adapter_files=tuple(
            f"animatediff_lightning_{steps}step_{form}.safetensors" for form in ("diffusers", "comfyui")
        ),
    )


def _sparsectrl(form: str, controlnet: str, description: str) -> KnownModel:
    """SparseCtrl (Guo et al., arXiv 2311.16933); steps and guidance of its authors' configs/prompts/3_sparsectrl."""
    return KnownModel(
        name=f"sparsectrl-{form}",
        architecture="AnimateDiff",
        preset="animatediff",
        description=description,
        base=_REALISTIC_VISION,
        motion_adapter=_V3,
        controlnet=controlnet,
        lora=(_V3_LORA,),
        sampling=Sampling(guidance_scale=8.5),
    )


_MODELS = (
    KnownModel(
        name=PACKAGED,
        architecture="AnimateDiff",
        preset="diorama",
        description="a small toy-world model that ships with the package; runs on a CPU, downloads nothing",
        measured=True,
    ),
    KnownModel(
        name=EARLY,
        architecture="AnimateDiff",
        preset="diorama",
        description="diorama with motion modules that have only begun to learn: what the method was made to help",
    ),
    KnownModel(
        name="animatediff",
        architecture="AnimateDiff",
        preset="animatediff",
        description="AnimateDiff v3 motion modules on Realistic Vision 5.1 (Stable Diffusion 1.5)",
        measured=True,
        base=_REALISTIC_VISION,
        motion_adapter=_V3,
    ),
    KnownModel(
        name="animatediff-v2",
        architecture="AnimateDiff",
        preset="animatediff",
        description="AnimateDiff v2 motion modules on Realistic Vision 5.1; the ones that motion LoRAs are made for",
        measured=True,
        base=_REALISTIC_VISION,
        motion_adapter="guoyww/animatediff-motion-adapter-v1-5-2",
    ),
    KnownModel(
        name="animatelcm",
        architecture="AnimateDiff",
        preset="animatediff",
        description="AnimateLCM (Wang et al., arXiv 2402.00769) on epiCRealism: a few steps, hardly any guidance",
        base=_EPIC_REALISM,
        motion_adapter="wangfuyun/AnimateLCM",
        lora=("wangfuyun/AnimateLCM:AnimateLCM_sd15_t2v_lora.safetensors=0.8",),
        sampling=Sampling(
            scheduler="LCMScheduler",
            settings={"beta_schedule": "linear", "clip_sample": False},
            steps=6,
            guidance_scale=2.0,
        ),
        adapter_files=("AnimateLCM_sd15_t2v.ckpt", "AnimateLCM_sd15_t2v.safetensors"),
    ),
    _lightning(4),
    _lightning(2),
    _lightning(8),
    KnownModel(
        name="animatediff-sdxl",
        architecture="AnimateDiff",
        preset="animatediff",
        description="AnimateDiff's beta motion modules on Stable Diffusion XL, 1024x1024",
        base="stabilityai/stable-diffusion-xl-base-1.0",
        motion_adapter="guoyww/animatediff-motion-adapter-sdxl-beta",
        sampling=Sampling(steps=20, guidance_scale=8.0),
        adapter_files=("mm_sdxl_v10_beta.ckpt", "mm_sdxl_v10_beta.safetensors"),
    ),
    _sparsectrl(
        "rgb",
        "guoyww/animatediff-sparsectrl-rgb",
        "AnimateDiff v3 with SparseCtrl: images for any of the frames (--image)",
    ),
    _sparsectrl(
        "scribble",
        "guoyww/animatediff-sparsectrl-scribble",
        "AnimateDiff v3 with SparseCtrl: sketches for any of the frames (--sketch)",
    ),
    KnownModel(
        name="pia",
        architecture="AnimateDiff",
        preset="animatediff",
        description="PIA (Zhang et al., arXiv 2312.13964) on Realistic Vision 6.0: animates an image (--image)",
        base="SG161222/Realistic_Vision_V6.0_B1_noVAE",
        motion_adapter="openmmlab/PIA-condition-adapter",
    ),
    KnownModel(
        name="videocrafter2",
        architecture="VideoCrafter2",
        preset="videocrafter2",
        description="VideoCrafter2 (512-v2, 320x512), from the checkpoint its authors published",
        measured=True,
        base="VideoCrafter/VideoCrafter2",
        checkpoint="model.ckpt",
    ),
)


def known_models() -> list[KnownModel]:
    """Every model that `load` takes by name, the packaged one first."""
    return list(_MODELS)


def find_model(name: str) -> KnownModel | None:
    """The known model of that name, or that is the one checkpoint of that hub repository; None when there is none."""
    return next((model for model in _MODELS if name == model.name or (model.checkpoint and name == model.base)), None)


def model_of_parts(motion_adapter: str, controlnet: str | None = None) -> KnownModel | None:
    """The known model with that motion adapter and ControlNet, or with that adapter alone; None when there is none.

    A file that has the name of a known one, wherever it lies, is taken for it.
    """
    file = Path(motion_adapter.rpartition(":")[2]).name
    with_adapter = [m for m in _MODELS if m.motion_adapter == motion_adapter or file in m.adapter_files]
    exact = [model for model in with_adapter if model.controlnet == controlnet]
    return next(iter(exact + with_adapter), None)


def close_names(name: str) -> list[str]:
    """Known names that `name` may be a misspelling of, closest first."""
    return difflib.get_close_matches(name.lower(), [model.name for model in _MODELS], n=3, cutoff=0.5)


def packaged_folder() -> Path:
    """The diffusers folder of the packaged model, inside the installed package."""
    return Path(str(files("bytheway.models"))) / PACKAGED


def early_adapter_folder() -> Path:
    """The motion adapter that makes the packaged model its early self."""
    return packaged_folder().with_name("diorama_early")


def packaged_files(name: str) -> list[Path]:
    """What has to be there for a packaged model to be loaded."""
    whole = packaged_folder() / "model_index.json"
    return [whole, early_adapter_folder() / "config.json"] if name == EARLY else [whole]


def _has_weights(source: str) -> bool:
    hub_file = hub_file_of(source)
    if hub_file is not None:
        return _cached(*hub_file)
    return any(_cached(source, weights) for weights in _WEIGHTS)


def _cached(repository: str, file: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file), str)
