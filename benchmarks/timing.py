"""Clocks: interleaved rounds, and the steps of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from benchmarks.columns import COLUMNS
from benchmarks.models import Subject
from bytheway.families.known import denoiser_of

T = TypeVar("T")
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class RunTimes:
    """Seconds of one run: the whole of it, and each denoising step, from the call of the denoiser on."""

    whole: float
    steps: list[float]


def now(device: torch.device) -> float:
    """The time at which the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def interleave(
    columns: Mapping[str, Callable[[], T]], rounds: int, seconds: float, end: float = float("inf")
) -> dict[str, list[T]]:
    """What each column gives, round by round, the order turning from one round to the next.

    What the machine does beside it then falls on all columns alike, and each value has a neighbour to be compared with.

    Args:
        rounds: at most this many; fewer, but three at least where there are three to do, once `seconds` are over.
        end: by the monotonic clock; after the first round none is begun that would not be done by then.
    """
    results: dict[str, list[T]] = {name: [] for name in columns}
    enough = time.monotonic() + seconds
    longest = 0.0
    for number in range(rounds):
        begin = time.monotonic()
        if (number >= LEAST_ROUNDS and begin > enough) or (number and begin + longest > end):
            break
        for name in sorted(columns, key=list(columns).index, reverse=bool(number % 2)):
            results[name].append(columns[name]())
        longest = max(longest, time.monotonic() - begin)
    return results


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call; on a GPU the mean of twenty, which hides the time of their launches."""
    calls = 20 if device.type == "cuda" else 1
    start = now(device)
    for _ in range(calls):
        function()
    return (now(device) - start) / calls


def timed_run(subject: Subject, column: str, steps: int) -> RunTimes:
    """One run of a column, putting it on and taking it off included."""
    pipe: Any = subject.pipe
    starts: list[float] = []
    ends: list[float] = []

    def ended(*_: Any) -> dict[str, Any]:
        ends.append(now(pipe.device))
        return {}

    # Before the column's own hooks, so that these are in the time of the step.
    handle = denoiser_of(pipe).register_forward_pre_hook(lambda *_: starts.append(now(pipe.device)))
    begin = now(pipe.device)
    try:
        with COLUMNS[column](pipe, steps):
            subject.run(steps, callback_on_step_end=ended)
    finally:
        handle.remove()
    whole = now(pipe.device) - begin
    return RunTimes(whole, [end - start for start, end in zip(starts, ends, strict=True)])
