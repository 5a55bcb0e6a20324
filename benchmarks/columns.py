"""The columns of the tables: what a run is compared with, each put on a pipeline for one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from benchmarks.plain import plainly
from bytheway import ByTheWayConfig, enhanced

VANILLA: Final = "vanilla"
OURS: Final = "ours"
# Ours again, outside the active steps: the hooks are there and have nothing to do.
IDLE: Final = "ours, idle"
PLAIN: Final = "plain"
FREE_INIT: Final = "FreeInit"
FREE_INIT_ITERATIONS: Final = 3

# What of the pipeline and the number of steps makes the column, as a context around one run.
Column = Callable[[Any, int], AbstractContextManager[object]]


@contextmanager
def _free_init(pipe: Any, steps: int) -> Iterator[None]:
    pipe.enable_free_init(num_iters=FREE_INIT_ITERATIONS)
    try:
        yield
    finally:
        pipe.disable_free_init()


COLUMNS: Final[Mapping[str, Column]] = {
    VANILLA: lambda pipe, steps: nullcontext(),
    OURS: lambda pipe, steps: enhanced(pipe, record=False),
    IDLE: lambda pipe, steps: enhanced(pipe, record=False, active_steps=0.0),
    PLAIN: lambda pipe, steps: plainly(pipe, ByTheWayConfig.for_pipeline(pipe), steps),
    FREE_INIT: _free_init,
}
