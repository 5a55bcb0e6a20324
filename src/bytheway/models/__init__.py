"""Names, folders, hub ids and checkpoint files, turned into pipelines, and what is asked of a pipeline (`Profile`).

Importing this does not import torch. Public is what it exports. May import `families` and below.
"""

from bytheway.families.family import KnownModel
from bytheway.families.known import known_models
from bytheway.models.loading import load
from bytheway.models.placement import resolve_device, resolve_dtype
from bytheway.models.profile import GenerationDefaults, Profile, profile_of

__all__ = [
    "GenerationDefaults",
    "KnownModel",
    "Profile",
    "known_models",
    "load",
    "profile_of",
    "resolve_device",
    "resolve_dtype",
]
