"""The figures as pictures (matplotlib)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from bytheway.evaluation.statistics import Estimate
from bytheway.files import written
from research.study.attention import Attention
from research.study.curves import Curve
from research.study.results import MEASURES, Comparison
from research.study.variants import PAPER, Axis, paper_point, sweep

matplotlib.use("Agg")


def differences(path: Path, comparisons: Mapping[str, Comparison]) -> None:
    """A small panel for each measure: the treatments' mean differences to vanilla with their intervals, by model."""
    columns = 4
    treatments = list(dict.fromkeys(name for comparison in comparisons.values() for name in comparison.differences))
    rows = -(-len(MEASURES) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 2.1 * rows), layout="constrained")
    for panel, (measure, (name, unit)) in zip(axes.flat, MEASURES.items(), strict=False):
        for number, (model, comparison) in enumerate(comparisons.items()):
            found = comparison.differences
            places = np.array([treatments.index(name) for name in found]) + 0.18 * number
            _points(panel, places, [row[measure] for row in found.values()], unit, upright=False, label=model)
        panel.set_yticks(range(len(treatments)), treatments)
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.invert_yaxis()
        panel.set_title(f"{name}{f', {unit}' if unit else ''}", fontsize=9)
        panel.tick_params(labelsize=8)
    for panel in axes.flat[len(MEASURES) :]:
        panel.axis("off")
    _finish(figure, axes.flat[0], "difference to vanilla, bootstrap 95 % interval", path)


def sweeps(
    path: Path, found: Mapping[str, Mapping[Axis, Comparison]], swept_axes: Sequence[Axis], measures: Sequence[str]
) -> None:
    """Measures by settings: mean differences to vanilla over the points of a sweep; the paper's is marked."""
    size = (0.8 + 2.4 * len(swept_axes), 0.8 + 1.9 * len(measures))
    figure, axes = plt.subplots(
        len(measures), len(swept_axes), figsize=size, layout="constrained", sharey="row", sharex="col", squeeze=False
    )
    for column, axis in enumerate(swept_axes):
        swept = {model: sweeps[axis] for model, sweeps in found.items() if axis in sweeps}
        settings = [point for point in sweep(axis) if any(point in one.differences for one in swept.values())]
        for row, measure in enumerate(measures):
            panel, (name, unit) = axes[row, column], MEASURES[measure]
            panel.axhline(0, color="grey", linewidth=0.8)
            for number, (model, comparison) in enumerate(swept.items()):
                apart = 0.24 * (number - (len(swept) - 1) / 2)
                places = np.array([settings.index(point) for point in comparison.differences]) + apart
                estimates = [figures[measure] for figures in comparison.differences.values()]
                _points(panel, places, estimates, unit, label=model)
            paper = paper_point(axis)
            if paper in settings:
                panel.axvspan(settings.index(paper) - 0.4, settings.index(paper) + 0.4, color="grey", alpha=0.15)
            panel.set_xticks(range(len(settings)), [point.replace("_", "_\n") for point in settings])
            panel.set_xlim(-0.6, len(settings) - 0.4)
            panel.tick_params(labelsize=9)
            if row == len(measures) - 1:
                panel.set_xlabel(axis, fontsize=10)
            if column == 0:
                panel.set_ylabel(f"{name.split(' (')[0]}{f', {unit}' if unit else ''}", fontsize=10)
    _finish(figure, axes[0, 0], "difference to vanilla; grey: the paper's settings", path)


def disparity(path: Path, found: Mapping[str, Attention]) -> None:
    """Mean disparity over the steps: of the good and the bad half, and under the paper's settings; models by blocks."""
    blocks = list(dict.fromkeys(block for attention in found.values() for block in attention.disparities))
    figure, axes = plt.subplots(
        len(found), len(blocks), figsize=(4.5 * len(blocks), 3 * len(found)), layout="constrained", squeeze=False
    )
    for row, (model, attention) in enumerate(found.items()):
        for column, block in enumerate(blocks):
            panel = axes[row, column]
            halves = (
                "vanilla, more confident half",
                "vanilla, less confident half",
                "under the paper's settings, as made",
            )
            for name, estimates in zip(halves, attention.disparity_by_step[block], strict=True):
                _band(panel, estimates, name)
            panel.axvspan(0.5, attention.active + 0.5, color="grey", alpha=0.12)
            panel.set_title(f"{model}, {block}", fontsize=9)
            panel.set(xlabel="step", ylabel="disparity to the anchor block")
    _finish(figure, axes[0, 0], "", path)


def correlations(path: Path, found: Mapping[str, Mapping[str, list[Estimate]]], title: str) -> None:
    """Spearman correlations, blocks by steps, a panel for each model; a dot where the interval leaves out zero."""
    figure, axes = plt.subplots(len(found), 1, figsize=(9, 2.4 * len(found)), layout="constrained", squeeze=False)
    pictures = [np.array([[one.value for one in row] for row in rows.values()]) for rows in found.values()]
    largest = max((float(np.abs(picture[np.isfinite(picture)]).max(initial=0)) for picture in pictures), default=0)
    scale = max(0.1, math.ceil(10 * largest) / 10)
    for panel, picture, (model, rows) in zip(axes[:, 0], pictures, found.items(), strict=True):
        image = panel.imshow(picture, cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto")
        sure = np.argwhere([[estimate.differs for estimate in row] for row in rows.values()])
        panel.plot(sure[:, 1], sure[:, 0], "k.", markersize=3)
        panel.set_yticks(range(len(rows)), list(rows))
        ticks = range(0, picture.shape[1], 4)
        panel.set_xticks(ticks, [str(step + 1) for step in ticks])
        panel.set(xlabel="step", title=model)
    figure.colorbar(image, ax=axes, label="Spearman's ρ", aspect=30)
    figure.suptitle(title, fontsize=10)
    _save(figure, path)


def beta(path: Path, found: Mapping[str, Attention]) -> None:
    """The adaptive beta over the steps, a line for each block, a panel for each model."""
    size = (5 * len(found), 3.4)
    figure, axes = plt.subplots(1, len(found), figsize=size, layout="constrained", squeeze=False, sharey=True)
    for panel, (model, attention) in zip(axes[0], found.items(), strict=True):
        panel.axhline(PAPER.beta, color="grey", linewidth=0.8, linestyle="--")
        for number, (block, estimates) in enumerate(attention.beta_by_step.items()):
            # Lines that coincide are seen one within the other.
            _band(panel, estimates, block, width=max(1.5, 9 / 2.2**number))
        panel.axvspan(0.5, attention.active + 0.5, color="grey", alpha=0.12)
        panel.set(xlabel="step", title=model)
    axes[0, 0].set_ylabel("mean beta")
    _finish(figure, axes[0, 0], "", path)


def swaps(path: Path, found: Mapping[str, Mapping[str, Curve]], active: int) -> None:
    """What clips show whose prompt changes: share that follows the first prompt, by steps before the swap."""
    figure, axes = plt.subplots(1, len(found), figsize=(6.5 * len(found), 3.8), layout="constrained", squeeze=False)
    for panel, (model, curves) in zip(axes[0], found.items(), strict=True):
        for name, curve in curves.items():
            _band(panel, curve.first, name, first=0, percent=True)
        panel.axvspan(0, active, color="grey", alpha=0.12)
        panel.axhline(50, color="grey", linewidth=0.8, linestyle="--")
        panel.set(xlabel="steps under the first prompt, before the second", title=model)
        panel.set(ylabel="clips that show the first, %", ylim=(-3, 103))
    _finish(figure, axes[0, 0], "", path)


def _points(
    panel: Any, places: np.ndarray, estimates: list[Estimate], unit: str, *, upright: bool = True, label: str
) -> None:
    scale = 100 if unit == "%" else 1
    value, low, high = scale * np.array([(e.value, e.low, e.high) for e in estimates]).reshape(-1, 3).T
    # An interval of percentiles need not hold the estimate itself.
    errors = np.stack([value - low, high - value]).clip(min=0)
    style: dict[str, Any] = {"fmt": "o", "markersize": 3, "linewidth": 1.2, "label": label}
    if upright:
        panel.errorbar(places, value, yerr=errors, **style)
    else:
        panel.errorbar(value, places, xerr=errors, **style)


def _band(
    panel: Any, estimates: list[Estimate], label: str, *, first: int = 1, percent: bool = False, width: float = 1.4
) -> None:
    if not estimates:
        return
    scale = 100 if percent else 1
    value, low, high = scale * np.array([(e.value, e.low, e.high) for e in estimates]).T
    places = np.arange(len(value)) + first
    (line,) = panel.plot(places, value, linewidth=width, marker=".", markersize=3, label=label)
    panel.fill_between(places, low, high, color=line.get_color(), alpha=0.18, linewidth=0)


def _finish(figure: Any, panel: Any, title: str, path: Path) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with written(path) as draft:
        figure.savefig(draft, dpi=110)
    plt.close(figure)
