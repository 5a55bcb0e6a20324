"""Empty modules in the place of torchvision, torchaudio and kornia, which ComfyUI imports and these checks do not use.

They do not install beside a CPU build of torch of any version. Where they are there, they are what is imported.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

NAMES = ("torchvision", "torchaudio", "kornia")


class _Empty(ModuleType):
    """Has every name that is imported from it; nothing that is so named can be used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in NAMES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def install() -> None:
    """Answer for those of the names that cannot be imported. torch and transformers ask for them, and come first."""
    import torch  # noqa: F401
    import transformers  # noqa: F401

    missing = tuple(name for name in NAMES if PathFinder.find_spec(name) is None)
    globals()["NAMES"] = missing
    if missing:
        sys.meta_path.append(_Finder())
