"""FreeInit (Wu et al., arXiv 2312.07537), switched on for a while: the method's results are compared with its."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bytheway.families.pipeline import VideoPipeline

FREE_INIT_ITERATIONS: Final = 3


@contextmanager
def free_init(pipe: VideoPipeline, iterations: int = FREE_INIT_ITERATIONS) -> Iterator[None]:
    """FreeInit switched on while the block runs; a pipeline that has it on already keeps its own.

    Args:
        pipe: a pipeline with `enable_free_init`.
        iterations: how often the denoising is run.
    """
    if getattr(pipe, "free_init_enabled", False):
        yield
        return
    pipe.enable_free_init(num_iters=iterations)
    try:
        yield
    finally:
        pipe.disable_free_init()
