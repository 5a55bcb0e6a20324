"""The models known by name: whether each is on this machine already, and what its parts are called."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path
from typing import Final

from bytheway.families.animatediff import EARLY, PACKAGED
from bytheway.families.family import KnownModel
from bytheway.families.known import known_models
from bytheway.families.pipeline import VideoPipeline
from bytheway.models.sources import hub_file_of

# CLIP's, which OpenCLIP has too.
VOCABULARY: Final = "openai/clip-vit-large-patch14"
VOCABULARY_FILES: Final = ("tokenizer.json", "vocab.json")
_WEIGHTS: Final = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def source_of(model: KnownModel) -> str:
    """Where the weights of a known model come from, in words."""
    if model.base is not None and model.checkpoint is not None:
        return f"{model.base} ({model.checkpoint})"
    parts = [part for part in (model.base, model.motion_adapter, model.controlnet) if part is not None]
    return " + ".join(parts) or "in the package"


def is_present(model: KnownModel) -> bool:
    """Whether the weights are in the package or in the local hub cache. Never touches the network."""
    if model.base is not None and model.checkpoint is not None:
        return _cached(model.base, model.checkpoint) and any(_cached(VOCABULARY, file) for file in VOCABULARY_FILES)
    if model.base is None:
        return all(file.is_file() for file in packaged_files(model.name))
    loras = [lora.partition("=")[0] for lora in model.lora]
    beside = [part for part in (model.motion_adapter, model.controlnet, *loras) if part is not None]
    return (
        _cached(model.base, "model_index.json")
        and any(_cached(model.base, f"unet/{weights}") for weights in _WEIGHTS)
        and all(_has_weights(part) for part in beside)
    )


def find_model(name: str) -> KnownModel | None:
    """The known model of that name, or that is the one checkpoint of that hub repository; None when there is none."""
    return next(
        (model for model in known_models() if name == model.name or (model.checkpoint and name == model.base)), None
    )


def model_of_parts(motion_adapter: str, controlnet: str | None = None) -> KnownModel | None:
    """The known model with that motion adapter and ControlNet, or with that adapter alone; None when there is none.

    A file that has the name of a known one, wherever it lies, is taken for it.
    """
    file = Path(motion_adapter.rpartition(":")[2]).name
    with_adapter = [m for m in known_models() if m.motion_adapter == motion_adapter or file in m.adapter_files]
    exact = [model for model in with_adapter if model.controlnet == controlnet]
    return next(iter(exact + with_adapter), None)


def known_model_of(pipe: VideoPipeline) -> KnownModel | None:
    """The known model whose motion adapter and ControlNet a pipeline has; None for one that is not known."""
    parts = (getattr(pipe, part, None) for part in ("motion_adapter", "controlnet"))
    adapter, controlnet = (None if part is None else part.config.get("_name_or_path") for part in parts)
    return None if adapter is None else model_of_parts(adapter, controlnet)


def close_names(name: str) -> list[str]:
    """Known names that `name` may be a misspelling of, closest first."""
    return difflib.get_close_matches(name.lower(), [model.name for model in known_models()], n=3, cutoff=0.5)


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
