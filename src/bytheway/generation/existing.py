"""Clips that are there already, and whether they are the ones that would be made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bytheway.clips.read import read_metadata
from bytheway.errors import ByTheWayError

# Settings that may differ between clips of which one is as good as the other.
_MADE_ALIKE: Final = frozenset({"batch_size", "device", "versions"})


def settings_at(path: Path | None) -> dict[str, Any]:
    """The settings that a clip carries; none where there is no clip, or it carries none."""
    if path is None or not path.exists():
        return {}
    try:
        return read_metadata(path)
    except ByTheWayError:
        return {}


def first_difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """In which setting a clip that is there is not as it would be made; None where it is in all that matter.

    Args:
        there: the settings that it carries.
        wanted: those that it would be made with.
    """
    asked = json.loads(json.dumps({name: value for name, value in wanted.items() if name not in _MADE_ALIKE}))
    return next((name for name, value in asked.items() if there.get(name) != value), None)
