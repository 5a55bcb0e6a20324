"""The models known by name: where each comes from, and whether it is on this machine already."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

PACKAGED = "diorama"
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


@dataclass(frozen=True)
class KnownModel:
    """A model that `load` takes by name: the packaged one, or of the hub, where `base` names the repository.

    That is an image model and a motion adapter for it, or a repository with one `checkpoint` file.
    """

    name: str
    architecture: str
    preset: str
    description: str
    base: str | None = None
    motion_adapter: str | None = None
    checkpoint: str | None = None

    @property
    def source(self) -> str:
        """Where the weights come from, in words."""
        if self.base is not None and self.checkpoint is not None:
            return f"{self.base} ({self.checkpoint})"
        return "in the package" if self.base is None else f"{self.base} + {self.motion_adapter}"

    @property
    def present(self) -> bool:
        """Whether the weights are in the package or in the local hub cache. Never touches the network."""
        if self.base is not None and self.checkpoint is not None:
            return _cached(self.base, self.checkpoint)
        if self.base is None or self.motion_adapter is None:
            return (packaged_folder() / "model_index.json").is_file()
        return (
            _cached(self.base, "model_index.json")
            and any(_cached(self.base, f"unet/{weights}") for weights in _WEIGHTS)
            and any(_cached(self.motion_adapter, weights) for weights in _WEIGHTS)
        )


_MODELS = (
    KnownModel(
        name=PACKAGED,
        architecture="AnimateDiff",
        preset="diorama",
        description="a small toy-world model that ships with the package; runs on a CPU, downloads nothing",
    ),
    KnownModel(
        name="animatediff",
        architecture="AnimateDiff",
        preset="animatediff",
        description="AnimateDiff v3 motion modules on Realistic Vision 5.1 (Stable Diffusion 1.5)",
        base="SG161222/Realistic_Vision_V5.1_noVAE",
        motion_adapter="guoyww/animatediff-motion-adapter-v1-5-3",
    ),
    KnownModel(
        name="animatediff-v2",
        architecture="AnimateDiff",
        preset="animatediff",
        description="AnimateDiff v2 motion modules on Realistic Vision 5.1; the ones that motion LoRAs are made for",
        base="SG161222/Realistic_Vision_V5.1_noVAE",
        motion_adapter="guoyww/animatediff-motion-adapter-v1-5-2",
    ),
    KnownModel(
        name="videocrafter2",
        architecture="VideoCrafter2",
        preset="videocrafter2",
        description="VideoCrafter2 (512-v2, 320x512), from the checkpoint its authors published",
        base="VideoCrafter/VideoCrafter2",
        checkpoint="model.ckpt",
    ),
)


def known_models() -> list[KnownModel]:
    """Every model that `load` takes by name, the packaged one first."""
    return list(_MODELS)


def find_model(name: str) -> KnownModel | None:
    """The known model of that name, None when there is none."""
    return next((model for model in _MODELS if model.name == name), None)


def close_names(name: str) -> list[str]:
    """Known names that `name` may be a misspelling of, closest first."""
    return difflib.get_close_matches(name.lower(), [model.name for model in _MODELS], n=3, cutoff=0.5)


def packaged_folder() -> Path:
    """The diffusers folder of the packaged model, inside the installed package."""
    return Path(str(files("bytheway.models"))) / PACKAGED


def _cached(repository: str, file: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file), str)
