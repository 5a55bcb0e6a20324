"""What one call does, by torch's profiler: memory, waits for the device, operators. Load of the machine is not in it,
but for the times of the operators."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile


class Operator(NamedTuple):
    """Calls of one operator, and the milliseconds that it took itself."""

    calls: int
    milliseconds: float


@dataclass(frozen=True)
class Profile:
    """One call.

    Attributes:
        peak: bytes that were allocated at once, above what was there before.
        syncs: how often a value was fetched from the device, or the device waited for.
        operators: by name.
    """

    peak: int
    syncs: int
    operators: dict[str, Operator]


def profiled(function: Callable[[], object], device: torch.device) -> Profile:
    """The profile of one call; on a GPU the call is made twice, for memory and waits by themselves."""
    if device.type == "cuda":
        peak, syncs = _on_gpu(function, device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            function()
        return Profile(peak, syncs, _operators(seen, "self_device_time_total"))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        function()
    operators = _operators(seen, "self_cpu_time_total")
    fetched = operators.get("aten::_local_scalar_dense", Operator(0, 0.0))
    return Profile(_peak(seen), fetched.calls, operators)


def extra(ours: Mapping[str, Operator], vanilla: Mapping[str, Operator]) -> list[tuple[str, int]]:
    """How much more (or less) often than vanilla ours calls an operator, those first in which ours spends most time.

    Times of two profiles differ by more than what these calls take, so they are no part of it.
    """
    nothing = Operator(0, 0.0)
    called = {name: ours.get(name, nothing).calls - vanilla.get(name, nothing).calls for name in {*ours, *vanilla}}
    changed = [(name, calls) for name, calls in called.items() if calls]
    return sorted(changed, key=lambda found: (-ours.get(found[0], nothing).milliseconds, found[0]))


def _operators(seen: Any, time: str) -> dict[str, Operator]:
    return {event.key: Operator(event.count, getattr(event, time) / 1000) for event in seen.key_averages()}


def _peak(seen: Any) -> int:
    """The most bytes on top of those at the beginning, from the allocations in the profiler's trace."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]"]
    changes: list[int] = [event["args"]["Bytes"] for event in sorted(memory, key=lambda event: event["ts"])]
    return max(accumulate(changes, initial=0))


def _on_gpu(function: Callable[[], object], device: torch.device) -> tuple[int, int]:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    syncs = sum("synchronizing" in str(warning.message) for warning in caught)
    return torch.cuda.max_memory_allocated(device) - before, syncs
