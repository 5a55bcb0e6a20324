"""The curves of the attention alone, and the steps and runs of the cases, as one picture (matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib import pyplot as plt

from benchmarks.columns import FREE_INIT, OURS, PLAIN, VANILLA
from benchmarks.results import Measurement, Results
from benchmarks.statistics import ratio

matplotlib.use("Agg")

AXES: Final = {"frames": "frames", "pixels": "width and height, pixels", "videos": "videos in the batch"}
COLOURS: Final = {OURS: "tab:blue", PLAIN: "tab:orange", FREE_INIT: "tab:green"}


def draw(results: Results, path: Path) -> None:
    """Ratios to vanilla: above the curves, with quartiles; below the active step and the run of each case."""
    rows = {case: [row for part in parts.values() for row in part.measurements] for case, parts in results.items()}
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, (curve, label) in zip(axes[0], AXES.items(), strict=True):
        _curve(axis, [row for found in rows.values() for row in found if row.figure == curve], label)
    for axis, bars in zip(axes[1], ("active step", "run", "memory"), strict=True):
        _bars(axis, {case: row for case, found in rows.items() for row in found if row.figure == bars}, bars)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curve(axis: Any, rows: list[Measurement], label: str) -> None:
    for column in (OURS, PLAIN):
        points = [(row.x, ratio(row.values[column], row.values[VANILLA])) for row in rows]
        middles = [found.median for _, found in points]
        errors = [[found.median - found.low for _, found in points], [found.high - found.median for _, found in points]]
        axis.errorbar(
            [x for x, _ in points], middles, errors, marker="o", capsize=3, color=COLOURS[column], label=column
        )
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(xlabel=label, ylabel="attention alone, times vanilla", yscale="log")
    if rows:
        axis.set_xticks([row.x for row in rows], [f"{row.x:g}" for row in rows])
        axis.legend()


def _bars(axis: Any, rows: dict[str, Measurement], name: str) -> None:
    present = [column for column in COLOURS if any(column in row.values for row in rows.values())]
    for number, column in enumerate(present):
        found = {place: row for place, row in enumerate(rows.values()) if column in row.values}
        heights = [ratio(row.values[column], row.values[VANILLA]).median for row in found.values()]
        axis.bar([place + 0.27 * (number - 1) for place in found], heights, 0.25, color=COLOURS[column], label=column)
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(ylabel=f"{name}, times vanilla")
    axis.set_xticks(range(len(rows)), list(rows))
    if rows:
        axis.legend()
