"""ByTheWay (Bu et al., CVPR 2025, arXiv 2410.06241): better structure, more motion, no training.

Names are loaded on first use, so that ``import bytheway`` and the command line's help do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bytheway import config as _config

if TYPE_CHECKING:
    from bytheway.apply.api import apply_bytheway, enhanced, observe, remove_bytheway
    from bytheway.config import AutoConfig, ByTheWayConfig
    from bytheway.errors import ByTheWayError
    from bytheway.families.pipeline import VideoPipeline
    from bytheway.families.sites import TemporalAttention
    from bytheway.generation.clip import Clip
    from bytheway.generation.request import Request
    from bytheway.generation.run import generate
    from bytheway.models.loading import load

    __version__: str

__all__ = [
    "AutoConfig",
    "ByTheWayConfig",
    "ByTheWayError",
    "Clip",
    "Request",
    "TemporalAttention",
    "__version__",
    "apply_bytheway",
    "enhanced",
    "generate",
    "load",
    "observe",
    "remove_bytheway",
]

_HOMES = {
    "AutoConfig": "bytheway.config",
    "ByTheWayConfig": "bytheway.config",
    "ByTheWayError": "bytheway.errors",
    "Clip": "bytheway.generation.clip",
    "Request": "bytheway.generation.request",
    "TemporalAttention": "bytheway.families.sites",
    "apply_bytheway": "bytheway.apply.api",
    "enhanced": "bytheway.apply.api",
    "generate": "bytheway.generation.run",
    "load": "bytheway.models.loading",
    "observe": "bytheway.apply.api",
    "remove_bytheway": "bytheway.apply.api",
}


def _find(pipe: "VideoPipeline", config: _config.AutoConfig, like: "Request | None") -> _config.ByTheWayConfig:
    """Finds what a config leaves to a model: the one call from a room to one above it, which goes by here."""
    from bytheway.tuning.resolving import resolve

    return resolve(pipe, config, like)


_config.use_finder(_find)


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name == "__version__":
        value: object = _version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The installed version; a source tree that is only on the path has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bytheway")
    except PackageNotFoundError:
        return "0+unknown"
