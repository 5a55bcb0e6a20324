"""The curves of the attention alone, and the steps and runs of the cases, as one picture (matplotlib)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

from benchmarks.columns import FREE_INIT, OURS, PLAIN, VANILLA
from benchmarks.report import GOALS
from benchmarks.results import Measurement, Results
from benchmarks.statistics import ratio
from bytheway.files import written

matplotlib.use("Agg")

AXES: Final = {"frames": "frames", "pixels": "width and height, pixels", "videos": "videos in the batch"}
PERCENTS: Final = (-5, -2, 0, 2, 5, 20, 100, 400)
COLOURS: Final = {OURS: "tab:blue", PLAIN: "tab:orange", FREE_INIT: "tab:green"}


def draw(results: Results, path: Path) -> None:
    """Above, the attention alone in times vanilla; below, what a step, a run and memory cost on top, with the goals."""
    rows = {case: [row for part in parts.values() for row in part.measurements] for case, parts in results.items()}
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    for axis, (curve, label) in zip(axes[0], AXES.items(), strict=True):
        _curve(axis, [row for found in rows.values() for row in found if row.figure == curve], label)
    for axis, name in zip(axes[1], ("active step", "run", "memory"), strict=True):
        _overheads(axis, {case: row for case, found in rows.items() for row in found if row.figure == name}, name)
    with written(path) as draft:
        figure.savefig(draft, dpi=110)
    plt.close(figure)


def _curve(axis: Any, rows: list[Measurement], label: str) -> None:
    for column in (OURS, PLAIN):
        _errorbars(axis, column, [row.x or 0.0 for row in rows], rows, lambda times: times, linestyle="-")
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(xlabel=label, ylabel="attention alone, times vanilla", yscale="log")
    axis.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axis.yaxis.set_minor_locator(NullLocator())
    if rows:
        axis.set_xticks([row.x for row in rows], [f"{row.x:g}" for row in rows])
        axis.legend()


def _overheads(axis: Any, rows: dict[str, Measurement], name: str) -> None:
    """Percent on top of vanilla: linear around nothing, where ours should be, and logarithmic beyond."""
    present = [column for column in COLOURS if any(column in row.values for row in rows.values())]
    for number, column in enumerate(present):
        offset = 0.22 * (number - (len(present) - 1) / 2)
        # A run of FreeInit that was not made has no spread of its own.
        found = {
            place + offset: row
            for place, row in enumerate(rows.values())
            if column in row.values and not (column == FREE_INIT and row.note)
        }
        _errorbars(axis, column, list(found), list(found.values()), lambda times: 100 * (times - 1), linestyle="none")
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.axhline(100 * (GOALS[name] - 1), color=COLOURS[OURS], linewidth=1, linestyle="--", label="goal for ours")
    axis.set_yscale("symlog", linthresh=5, linscale=1.5)
    axis.set_yticks(PERCENTS, [f"{percent:+g} %" if percent else "0" for percent in PERCENTS])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_title(f"{name}, on top of vanilla")
    axis.set_xticks(range(len(rows)), list(rows), fontsize=9)
    axis.set_xlim(-0.5, max(len(rows), 1) - 0.5)
    axis.legend()


def _errorbars(
    axis: Any, column: str, places: list[float], rows: list[Measurement], unit: Callable[[float], float], **style: Any
) -> None:
    """Medians of the ratios to vanilla, with quartiles."""
    found = [ratio(row.values[column], row.values[VANILLA]) for row in rows]
    middles = [unit(one.median) for one in found]
    errors = [
        [unit(one.median) - unit(one.low) for one in found],
        [unit(one.high) - unit(one.median) for one in found],
    ]
    axis.errorbar(places, middles, errors, marker="o", capsize=3, color=COLOURS[column], label=column, **style)
