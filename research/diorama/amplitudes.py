"""How much a subject moves: drawn evenly from a wide range for every clip, and told by no word or by a true one.

With one amount for each prompt a clip that moves more or less than that is wrong; with a free amount both are right,
as in the captions of real videos, which hardly ever say how much moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

JUMP = (0.12 * 15, 1.25 * 15)
AMPLITUDES: Mapping[str, tuple[float, float]] = {
    "left": (2.0, 26.0),
    "right": (2.0, 26.0),
    "jump": JUMP,
    "spin": (0.04, 0.5),
    "still": (0.0, 0.0),
}
"""The least and the greatest amplitude of each motion over a clip.

The reach of a way and the height of a jump in pixels of a frame of 64, the angle of a spin in turns. A tall subject
jumps less high than the greatest, so that its head stays in the frame.
"""
LOW, HIGH = 0.4, 0.6
"""Shares of the range below and above which there is a word for an amplitude; between them there is none."""


def degree(motion: str, amplitude: float) -> Literal["low", "high"] | None:
    """Whether an amplitude lies in the lower or the upper part of its motion's range; None in the middle, and at rest.

    Args:
        amplitude: in the units of `AMPLITUDES`, as `world.Clips.amplitude` gives it.
    """
    least, greatest = AMPLITUDES[motion]
    if greatest == least:
        return None
    share = (amplitude - least) / (greatest - least)
    return "low" if share < LOW else "high" if share > HIGH else None
