"""The figures of a case."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import cached_property, partial
from typing import Final

import numpy as np
import torch

from benchmarks.cases import CASES, QUICK, RUN_STEPS, Case, Model
from benchmarks.columns import COLUMNS, FREE_INIT, IDLE, OURS, PLAIN, VANILLA
from benchmarks.core_figures import measure_blocks, measure_curves
from benchmarks.kernels import check_kernels
from benchmarks.machine import describe
from benchmarks.models import Scale, Subject
from benchmarks.profiling import Profile, extra, profiled
from benchmarks.results import Measurement, Part
from benchmarks.timing import RunTimes, interleave, timed_run
from bytheway.apply.steps import count_active
from bytheway.families.known import preset_for
from bytheway.generation.free_init import FREE_INIT_ITERATIONS

MIB: Final = 2**20
LISTED: Final = 6


class Figure(StrEnum):
    """What can be asked for."""

    KERNELS = "kernels"
    CORE = "core"
    CURVES = "curves"
    STEP = "step"
    RUN = "run"


def figures_of(model: Model, device: str) -> list[Figure]:
    """The figures that a model has on a kind of device, in the order in which they are measured."""
    kernels = device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    absent = {Figure.KERNELS, Figure.CURVES} if not CASES[model].curves else set() if kernels else {Figure.KERNELS}
    return [figure for figure in Figure if figure not in absent]


def measure(
    model: Model, device: torch.device, figures: Collection[Figure], quick: bool, end: float = float("inf")
) -> Iterator[tuple[Figure, Part]]:
    """The figures asked for, one after the other; the pipeline is made once.

    Args:
        end: by the monotonic clock; no figure is begun after it, and no round of runs that would not be done by then.
    """
    bench = _Bench(CASES[model], device, quick, end)
    for figure in figures_of(model, device.type):
        if figure in figures and time.monotonic() < end:
            machine = describe(device)
            try:
                setting, rows, words, missing = bench.measure(figure)
            except torch.OutOfMemoryError:
                setting, rows, words, missing = "", [], [], ["everything: it does not fit into the GPU's memory"]
            yield figure, Part(bench.case.title, setting, machine, rows, words, missing)


class _Bench:
    """One model on one device."""

    def __init__(self, case: Case, device: torch.device, quick: bool, end: float) -> None:
        self.case, self.device, self.quick, self.end = case, device, quick, end
        self.scale = case.scales[QUICK if quick else device.type]

    @cached_property
    def subject(self) -> Subject:
        """The pipeline, after one step."""
        subject = self.case.make(self.scale, self.device)
        timed_run(subject, VANILLA, 1)
        return subject

    def measure(self, figure: Figure) -> tuple[str, list[Measurement], list[str], list[str]]:
        """Setting, rows, words, and what is missing."""
        if figure is Figure.KERNELS:
            words, missing = check_kernels(self.device, self.quick, self.end)
            return "Triton's, against whole maps in float64", [], words, missing
        if figure is Figure.CORE:
            setting = "classifier-free guidance" if self.case.joint else "16 frames, classifier-free guidance"
            return setting, *measure_blocks(self.case, self.device, self.quick), []
        if figure is Figure.CURVES:
            return "320 channels, 8 heads", measure_curves(self.device, self.quick), [], []
        if figure is Figure.STEP:
            return str(self.scale), *_step(self.subject, self.device), []
        rows = (_whole_runs if self._may_run() else _reckoned_runs)(self.case, self.subject, self.scale, self.end)
        return str(self.scale), rows, [], [f"{column}: {reason}" for column, reason in self.case.missing.items()]

    def _may_run(self) -> bool:
        """Whether whole runs are to be measured, and there is time for one of each column."""
        if self.scale.steps == 1 or self.end == float("inf"):
            return self.scale.steps > 1
        runs = sum(FREE_INIT_ITERATIONS if column == FREE_INIT else 1 for column in self.case.columns if column != IDLE)
        step = timed_run(self.subject, VANILLA, 1).whole
        return time.monotonic() + runs * self.scale.steps * step < self.end


def _step(subject: Subject, device: torch.device) -> tuple[list[Measurement], list[str]]:
    """Memory and host syncs of one active step, and the operators that ours adds to it."""
    profiles: dict[str, Profile] = {}
    for column in (VANILLA, OURS, PLAIN):
        if device.type == "cuda":  # kernels are compiled, and tried, at their first use
            timed_run(subject, column, 1)
        # Ours keeps memory for the life of a thread: in a new one it is seen to be taken.
        with COLUMNS[column](subject.pipe, 1), ThreadPoolExecutor(1) as thread:
            profiles[column] = thread.submit(profiled, partial(subject.run, 1, output_type="latent"), device).result()
    weights = subject.weight_bytes()
    memory = {name: [(weights + found.peak) / MIB] for name, found in profiles.items()}
    syncs = {name: [float(found.syncs)] for name, found in profiles.items()}
    added = extra(profiles[OURS].operators, profiles[VANILLA].operators)
    rows = [
        Measurement("memory", "weights and the most that an active step holds", "MiB", memory),
        Measurement("syncs", "values fetched from the device in a run of one active step", "", syncs),
    ]
    return rows, [f"Calls of an active step of ours, against vanilla: {_in_words(added)}."]


def _in_words(operators: list[tuple[str, int]]) -> str:
    return ", ".join(f"`{name}` {calls:+d}" for name, calls in operators[:LISTED])


def _whole_runs(case: Case, subject: Subject, scale: Scale, end: float) -> list[Measurement]:
    """Runs from the prompt to the end, and the medians of their steps."""
    columns = [column for column in case.columns if column != IDLE]
    for column in columns:
        timed_run(subject, column, 1)
    timed = interleave(
        {column: partial(timed_run, subject, column, scale.steps) for column in columns},
        scale.rounds,
        scale.seconds,
        end,
    )
    active = count_active(preset_for(subject.pipe).config.active_steps, scale.steps)
    stepped = {name: runs for name, runs in timed.items() if name != FREE_INIT}
    return [
        Measurement("active step", "an active step", "ms", _steps(stepped, slice(0, active))),
        Measurement("other step", "a step that is not active", "ms", _steps(stepped, slice(active, None))),
        Measurement(
            "run",
            f"a run of {scale.steps} steps",
            "ms",
            {name: [1000 * run.whole for run in runs] for name, runs in timed.items()},
        ),
    ]


def _steps(timed: Mapping[str, list[RunTimes]], part: slice) -> dict[str, list[float]]:
    return {name: [1000 * float(np.median(run.steps[part])) for run in runs] for name, runs in timed.items()}


def _reckoned_runs(case: Case, subject: Subject, scale: Scale, end: float) -> list[Measurement]:
    """Single steps, and what they make of a whole run."""
    columns = [column for column in dict.fromkeys((*case.columns, IDLE)) if column != FREE_INIT]
    timed = interleave(
        {column: partial(timed_run, subject, column, 1) for column in columns}, scale.rounds, scale.seconds, end
    )
    steps = _steps(timed, slice(0, 1))
    idle = steps.pop(IDLE)
    others = {VANILLA: steps[VANILLA], OURS: idle, PLAIN: steps[VANILLA]}
    active = count_active(preset_for(subject.pipe).config.active_steps, RUN_STEPS)
    runs = {
        name: [
            active * one + (RUN_STEPS - active) * other for one, other in zip(steps[name], others[name], strict=True)
        ]
        for name in steps
    }
    note = f"reckoned from the steps: {active} active ones, {RUN_STEPS - active} others"
    if FREE_INIT in case.columns:
        runs[FREE_INIT] = [FREE_INIT_ITERATIONS * run for run in runs[VANILLA]]
        note += f"; FreeInit as {FREE_INIT_ITERATIONS} vanilla runs"
    return [
        Measurement("active step", "an active step", "ms", steps),
        Measurement("other step", "a step that is not active", "ms", {VANILLA: others[VANILLA], OURS: idle}),
        Measurement("run", f"a run of {RUN_STEPS} steps", "ms", runs, note=note),
    ]
