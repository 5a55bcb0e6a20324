"""VBench's conventions about several clips: averages over them, and prompts as names of files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bytheway.evaluation.measures.measure import Measurement

OVER_PAIRS = ("subject_consistency", "background_consistency")
"""The dimensions that one process of VBench averages over all frames of all clips, so that long clips weigh more."""


def overall(measurements: Sequence[Measurement]) -> float:
    """VBench's number for several clips, from the measurements of one dimension, one for each clip, at least one.

    It is that of one process; in several, VBench averages subject consistency over clips.
    """
    name = measurements[0].name
    if name in OVER_PAIRS:
        everything = [value for one in measurements for value in one.values]
        return sum(everything) / len(everything)
    mean = sum(float(one.value) for one in measurements) / len(measurements)
    return mean / 100 if name == "imaging_quality" else mean


def prompt_of(name: str) -> str:
    """The prompt that a clip is named for, "a cat" of "a cat-0": its name without the number."""
    return re.sub(r"-\d+$", "", name)
