"""Lists of prompts that ship with the package, by name.

`diorama.txt` is of the packaged model's world. `vbench.json` has prompts and dimensions of VBench's suite
(Vchitect/VBench, Apache-2.0, by its authors), those of six of its dimensions; `vbench-background.txt` and
`vbench-flickering.txt` are its prompts for two more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np

from bytheway.errors import ByTheWayError

# VBench's prompts by the dimension they are scored for: the 72 of subject consistency, motion smoothness and dynamic
# degree, and the 93 of aesthetic quality, imaging quality and overall consistency.
_VBENCH: Final = {
    "vbench": None,
    "vbench-subject": "subject_consistency",
    "vbench-motion": "dynamic_degree",
    "vbench-aesthetic": "aesthetic_quality",
}
_LISTS: Final = ("diorama", "vbench-background", "vbench-flickering")

SUITES: Final = (*_LISTS, *_VBENCH)
"""Their names."""


@cache
def vbench_entries() -> tuple[dict[str, Any], ...]:
    """The prompts of VBench's suite for those dimensions, as its own file has them: `prompt_en` and `dimension`."""
    return tuple(json.loads((files(__package__) / "vbench.json").read_text(encoding="utf-8")))


def prompts_of(suite: str) -> tuple[str, ...]:
    """The prompts of a suite, in its order.

    Raises:
        ByTheWayError: there is no suite of that name.
    """
    if suite in _LISTS:
        return tuple((files(__package__) / f"{suite}.txt").read_text(encoding="utf-8").splitlines())
    if suite not in _VBENCH:
        raise ByTheWayError(f"There is no suite {suite!r}; the suites are {', '.join(SUITES)}.")
    dimension = _VBENCH[suite]
    return tuple(
        entry["prompt_en"] for entry in vbench_entries() if dimension is None or dimension in entry["dimension"]
    )


def usual_prompts(count: int, *, of_world: bool, prompts: Sequence[str] | None = None) -> tuple[str, ...]:
    """So many prompts from all over a list, or all of a shorter one.

    Args:
        count: at least 1.
        of_world: of the packaged model's world, else of any.
        prompts: the list; None: a suite.
    """
    suite = prompts or prompts_of("diorama" if of_world else "vbench-subject")
    places = np.linspace(0, len(suite) - 1, min(count, len(suite))).round().astype(int)
    return tuple(suite[place] for place in places)
