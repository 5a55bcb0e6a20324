"""Names, folders, hub ids and checkpoint files, turned into pipelines. Importing this does not import torch."""

from bytheway.models.defaults import GenerationDefaults, generation_defaults, preset_for
from bytheway.models.loaders import load
from bytheway.models.placement import resolve_device, resolve_dtype
from bytheway.models.registry import KnownModel, known_models

__all__ = [
    "GenerationDefaults",
    "KnownModel",
    "generation_defaults",
    "known_models",
    "load",
    "preset_for",
    "resolve_device",
    "resolve_dtype",
]
