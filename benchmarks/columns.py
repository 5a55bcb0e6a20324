"""The columns of the tables: what a run is compared with, each put on a pipeline for one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from benchmarks.plain import plainly
from bytheway import enhanced
from bytheway.families.known import preset_for
from bytheway.generation.free_init import free_init

VANILLA: Final = "vanilla"
OURS: Final = "ours"
# Ours again, outside the active steps: the hooks are there and have nothing to do.
IDLE: Final = "ours, idle"
# Ours again, with energies, disparity and beta kept, by which seeds are chosen.
RECORDED: Final = "ours, recorded"
PLAIN: Final = "plain"
FREE_INIT: Final = "FreeInit"

# What of the pipeline and the number of steps makes the column, as a context around one run.
Column = Callable[[Any, int], AbstractContextManager[object]]

COLUMNS: Final[Mapping[str, Column]] = {
    VANILLA: lambda pipe, steps: nullcontext(),
    OURS: lambda pipe, steps: enhanced(pipe, record=False),
    IDLE: lambda pipe, steps: enhanced(pipe, record=False, active_steps=0.0),
    RECORDED: lambda pipe, steps: enhanced(pipe),
    PLAIN: lambda pipe, steps: plainly(pipe, preset_for(pipe).config, steps),
    FREE_INIT: lambda pipe, steps: free_init(pipe),
}
