"""How one attention is computed, on ready-made query, key and value. May import `method` and below.

`attend` is temporal attention enhanced by ByTheWay, for any network: it needs torch and no diffusers. Names that need
torch are loaded on first use, so that whoever describes models does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bytheway.attention.layout import Layout, VideoTokens

if TYPE_CHECKING:
    from bytheway.attention.measures import Anchor, Attended, Measures
    from bytheway.attention.site import attend, observe

__all__ = ["Anchor", "Attended", "Layout", "Measures", "VideoTokens", "attend", "observe"]

_HOMES = {
    "Anchor": "bytheway.attention.measures",
    "Attended": "bytheway.attention.measures",
    "Measures": "bytheway.attention.measures",
    "attend": "bytheway.attention.site",
    "observe": "bytheway.attention.site",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
