"""What a person asks the studio for: plain data. Importing this imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, Literal, TypeAlias

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.generation.request import Request
from bytheway.models.choice import ModelChoice
from bytheway.selection.aim import AIMS, Aim

Method: TypeAlias = ByTheWayConfig | Literal["preset", "auto"] | None
"""The method's settings: some of one's own, the model's preset, those that its maps ask for, or the method left out."""

OF_METHOD: Final = ("alpha", "beta", "tau", "active_steps")
OF_RUN: Final = ("steps", "guidance_scale", "seed")
WHOLE: Final = ("tau", "steps", "seed")
MOST_CELLS: Final = 36  # of a grid
MOST_SEEDS: Final = 64


@dataclass(frozen=True)
class Axis:
    """A setting of a grid, and the values that it takes one after the other.

    Raises:
        ByTheWayError: there is no such setting, or there is no value.
    """

    setting: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.setting not in OF_METHOD + OF_RUN:
            raise ByTheWayError(
                f"{self.setting} is none of the settings of a grid; choose one of {', '.join(OF_METHOD + OF_RUN)}."
            )
        if not self.values:
            raise ByTheWayError(f"The grid has no value for {self.setting}; give some, such as 0.1, 0.2.")
        if self.setting in WHOLE:
            broken = [value for value in self.values if value != int(value)]
            if broken:
                raise ByTheWayError(f"{self.setting} is {broken[0]:g}; it must be a whole number.")
            object.__setattr__(self, "values", tuple(int(value) for value in self.values))


@dataclass(frozen=True)
class Best:
    """How to choose among the seeds of a prompt; see `bytheway.selection.best.best_of`."""

    seeds: int
    keep: int
    aim: Aim

    def __post_init__(self) -> None:
        if not 1 <= self.keep < self.seeds <= MOST_SEEDS:
            raise ByTheWayError(
                f"{self.keep} of {self.seeds} seeds are to be kept; begin at most {MOST_SEEDS}, and keep at least one, "
                "but fewer than are begun."
            )
        if self.aim not in AIMS:
            raise ByTheWayError(f"The aim is {self.aim!r}; it must be one of {', '.join(AIMS)}.")


@dataclass(frozen=True)
class Cell:
    """One request of a wish, and which values a grid gives it."""

    request: Request
    config_changes: Mapping[str, Any]
    label: str


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        choice: the model.
        request: what is made with it; `config`, `compare` and `record` of it are left open.
        method: the method's settings.
        compare: make each clip without the method as well, from the same seed.
        best: how to choose among seeds; None: everything is made.
        grid: up to two settings that are varied, rows first; none: one request.
    """

    choice: ModelChoice
    request: Request
    method: Method = "preset"
    compare: bool = False
    best: Best | None = None
    grid: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        if len(self.grid) > 2:
            raise ByTheWayError(f"The grid varies {len(self.grid)} settings; choose at most two.")
        if self._cell_count > MOST_CELLS:
            raise ByTheWayError(f"The grid has {self._cell_count} clips; make it of at most {MOST_CELLS}.")
        self.cells()  # each is checked, now that there are few
        if len({axis.setting for axis in self.grid}) < len(self.grid):
            raise ByTheWayError("Both sides of the grid vary the same setting; choose two.")
        if self.method is None and self.compare:
            raise ByTheWayError("A comparison needs the method; turn it on, or leave the comparison out.")
        if self.method is None and any(axis.setting in OF_METHOD for axis in self.grid):
            raise ByTheWayError("The grid varies a setting of the method, which is left out; turn the method on.")
        if self.best and (self.grid or self.compare):
            raise ByTheWayError("Seeds are chosen among without a grid and without a comparison; leave these out.")

    @property
    def clips(self) -> int:
        """How many clips, or pairs of them, come out of it."""
        return self.best.keep if self.best else self._cell_count

    @property
    def _cell_count(self) -> int:
        return math.prod(len(axis.values) for axis in self.grid)

    def cells(self) -> list[Cell]:
        """The requests that are made one after the other; the last setting of the grid varies fastest."""
        found = []
        for values in product(*(axis.values for axis in self.grid)):
            chosen = dict(zip((axis.setting for axis in self.grid), values, strict=True))
            of_run: dict[str, Any] = {name: value for name, value in chosen.items() if name in OF_RUN}
            changes = {name: value for name, value in chosen.items() if name in OF_METHOD}
            label = ", ".join(
                f"{name} {value}" if name in WHOLE else f"{name} {value:g}" for name, value in chosen.items()
            )
            found.append(Cell(replace(self.request, **of_run), changes, label))
        return found
