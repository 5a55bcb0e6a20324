"""What is to be done, cut into units: a model, a treatment, a block of prompts. Any may be lost and done again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from research.study.variants import (
    BANDS,
    EVERY_STEP,
    REFERENCE,
    RENDERS,
    VANILLA,
    WORLD,
    Axis,
    Swap,
    Treatment,
    Variant,
    cells,
    sweep,
)

BLOCK = 16
PAIR_BLOCK = 8
"""A pair makes a clip for every step, so there are fewer in a block."""
SWEEPS_FROM = 10_000
"""Number of the first prompt of the sweeps: a preset is not chosen on the prompts on which it is measured."""
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
    start, count, block = 0, extent.subset, BLOCK
    if part is Part.CELLS:
        count = extent.clips
    elif part is Part.SWAP:
        count, block = extent.pairs, PAIR_BLOCK
    elif part is Part.SWEEPS:
        start = SWEEPS_FROM
    treatments = {model: _treatments(part, model) for model in models}
    for first in range(start, start + count, block):
        stop = min(first + block, start + count)
        if part is not Part.SWAP:
            yield from (Unit(WORLD, renders, first, stop) for renders in (RENDERS, REFERENCE))
        for together in zip(*treatments.values(), strict=True):
            yield from (Unit(model, one, first, stop) for model, one in zip(treatments, together, strict=True))


def _treatments(part: Part, model: str) -> Sequence[Treatment]:
    """Those of a part, as many for every model."""
    if part is Part.CELLS:
        return list(cells(model).values())
    if part is Part.SWAP:
        return [Swap()]
    if part is Part.BANDS:
        return [*BANDS.values(), EVERY_STEP]
    return [VANILLA, *(variant for axis in Axis for variant in sweep(axis).values())]
