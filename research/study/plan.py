"""What is to be done, cut into units: a model, a treatment, a block of prompts. Any may be lost and done again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from research.study.variants import (
    BANDS,
    CELLS,
    EVERY_STEP,
    REFERENCE,
    RENDERS,
    VANILLA,
    WORLD,
    Axis,
    Swap,
    Treatment,
    Variant,
    sweep,
)

BLOCK = 16
PAIR_BLOCK = 8
"""A pair makes a clip for every step, so there are fewer in a block."""
RECORDED_CLIPS = 200
"""The paper compares the attention maps of 100 good and 100 bad videos (Figure 2a)."""


class Part(StrEnum):
    """A part of the study, in the order in which they are done."""

    CELLS = "cells"
    SWAP = "swap"
    BANDS = "bands"
    SWEEPS = "sweeps"


@dataclass(frozen=True)
class Unit:
    """`treatment` of the prompts (or pairs of prompts) from `first` to before `stop`."""

    model: str
    treatment: Treatment
    first: int
    stop: int

    @property
    def recorded(self) -> bool:
        return isinstance(self.treatment, Variant) and self.treatment.recorded and self.first < RECORDED_CLIPS

    def __str__(self) -> str:
        return f"{self.model} {self.treatment.key} {self.first}-{self.stop}"


@dataclass(frozen=True)
class Extent:
    """How much is made: clips of each cell; of these the first ones for bands and sweeps; pairs of prompts."""

    clips: int = 512
    subset: int = 128
    pairs: int = 64


def plan(models: Collection[str], parts: Iterable[Part], extent: Extent) -> list[Unit]:
    """The units in the order in which they are done: part by part, within it block by block for all treatments, so
    that whenever it is broken off, they have the same prompts."""
    chosen = set(parts)
    units: list[Unit] = []
    for part in Part:
        if part in chosen:
            units += _units(part, models, extent)
    return list(dict.fromkeys(units))


def _units(part: Part, models: Collection[str], extent: Extent) -> Iterator[Unit]:
    treatments: Sequence[Treatment]
    count, block = extent.subset, BLOCK
    if part is Part.CELLS:
        treatments, count = list(CELLS.values()), extent.clips
    elif part is Part.SWAP:
        treatments, count, block = [Swap()], extent.pairs, PAIR_BLOCK
    elif part is Part.BANDS:
        treatments = list(BANDS.values())
    else:
        treatments = [VANILLA, *(variant for axis in Axis for variant in sweep(axis).values()), EVERY_STEP]
    for first in range(0, count, block):
        stop = min(first + block, count)
        if part is not Part.SWAP:
            yield from (Unit(WORLD, renders, first, stop) for renders in (RENDERS, REFERENCE))
        for treatment in treatments:
            yield from (Unit(model, treatment, first, stop) for model in models)
