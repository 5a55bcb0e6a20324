"""The record of one clip as curves: energy, disparity and beta of each block over the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bytheway.errors import ByTheWayError
from bytheway.record import Record, Row

Curve: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """What was recorded of one clip, each curve (steps,), a mean over the sites and windows of a block.

    Attributes:
        blocks: in the order in which they run.
        steps: their numbers, from 0.
        timesteps: those that the denoiser was called with, one for each step.
        energy: E1 by block, of the maps as the model made them.
        disparity: to the anchor, by block; only of blocks that run after the anchor.
        beta: by block.
    """

    blocks: tuple[str, ...]
    steps: tuple[int, ...]
    timesteps: tuple[float, ...]
    energy: Mapping[str, Curve]
    disparity: Mapping[str, Curve]
    beta: Mapping[str, Curve]

    @property
    def anchor(self) -> str | None:
        """The block that disparities refer to: the last one before those that have any. None where none has."""
        before = [block for block in self.blocks if block not in self.disparity]
        return before[-1] if before and self.disparity else None

    @property
    def guided(self) -> tuple[str, ...]:
        """The blocks after the anchor; all blocks where there is none."""
        return tuple(self.disparity) or self.blocks

    def first(self, steps: int) -> Curves:
        """The same of the first steps alone."""

        def cut(curves: Mapping[str, Curve]) -> dict[str, Curve]:
            return {block: curve[:steps] for block, curve in curves.items()}

        return Curves(
            self.blocks,
            self.steps[:steps],
            self.timesteps[:steps],
            cut(self.energy),
            cut(self.disparity),
            cut(self.beta),
        )


def curves_of(record: Record, video: int = 0) -> Curves:
    """The curves of one clip; of several denoising runs (FreeInit) those of the last one.

    Args:
        record: of a run; its numbers are fetched from the device.
        video: number of the clip in its batch.

    Raises:
        ByTheWayError: nothing was recorded of it.
    """
    rows = [row for row in record.rows() if row.video == video]
    if not rows:
        raise ByTheWayError(
            "Nothing was recorded of this clip: the method acts in none of its steps, or the model has no temporal "
            "attention maps; record a run with active steps."
        )
    last = max(row.run for row in rows)
    rows = [row for row in rows if row.run == last]
    steps = tuple(sorted({row.step for row in rows}))
    timestep = {row.step: row.timestep for row in reversed(rows)}
    return Curves(
        tuple(dict.fromkeys(row.block for row in rows)),
        steps,
        tuple(timestep[step] for step in steps),
        _means(rows, steps, lambda row: row.energy),
        _means(rows, steps, lambda row: row.disparity),
        _means(rows, steps, lambda row: row.beta),
    )


def _means(rows: list[Row], steps: tuple[int, ...], value: Callable[[Row], Any]) -> dict[str, Curve]:
    """The mean of a value in each block and step, of blocks that have it in every step."""
    place = {step: index for index, step in enumerate(steps)}
    sums: dict[str, Curve] = {}
    counts: dict[str, Curve] = {}
    for row in rows:
        number = value(row)
        if number is not None:
            sums.setdefault(row.block, np.zeros(len(steps)))[place[row.step]] += number
            counts.setdefault(row.block, np.zeros(len(steps)))[place[row.step]] += 1
    return {block: total / counts[block] for block, total in sums.items() if counts[block].all()}
