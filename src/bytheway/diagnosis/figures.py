"""Curves and maps as pictures (matplotlib)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bytheway.diagnosis.curves import Curve, Curves
from bytheway.errors import ByTheWayError
from bytheway.files import check_file, written

_LINE, _FAINT, _MARK = "#1b6ca8", "#9db8cc", "#b0483a"
_MOST_MAPS: Final = 5  # in a row

Row = tuple[str, Callable[[Curves], Mapping[str, Curve]], float | None, str]


def check_figure(path: Path) -> None:
    """Raise ByTheWayError where no picture can be drawn, or none written to this file."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ByTheWayError(f"{path} is no name for a picture; let it end in .png, .svg or .pdf.", setting="output")
    check_file(path)
    _figure(1, 1)


def draw_curves(path: Path, clips: Sequence[Curves], *, num_frames: int, least_beta: float | None) -> None:
    """The picture of `curves_figure`, as a file.

    Args:
        path: of the picture.
        clips, num_frames, least_beta: as there.

    Raises:
        ByTheWayError: matplotlib is not installed, or the file cannot be written.
    """
    _save(curves_figure(clips, num_frames=num_frames, least_beta=least_beta), path)


def curves_figure(clips: Sequence[Curves], *, num_frames: int, least_beta: float | None) -> Any:
    """Energy, disparity and beta over the steps, a column for each block (the paper's Figures 2 and 12).

    Args:
        clips: each a thin line, their mean a thick one.
        num_frames: F, which tells the energy of a flat map.
        least_beta: the config's, where the method was on.

    Returns:
        a matplotlib `Figure`.

    Raises:
        ByTheWayError: matplotlib is not installed.
    """
    first = clips[0]
    blocks = [block for block in first.blocks if block == first.anchor or block in first.guided]
    rows: list[Row] = [("energy", lambda one: one.energy, 1 / num_frames, "a flat map")]
    if first.disparity:
        rows.append(("disparity to the anchor", lambda one: one.disparity, None, ""))
    if least_beta is not None:
        rows.append(("beta", lambda one: one.beta, least_beta, "the least"))
    figure = _figure(1.2 + 2.6 * len(blocks), 0.9 + 2.0 * len(rows))
    axes = figure.subplots(len(rows), len(blocks), squeeze=False, sharex=True, sharey="row")
    for line, (name, curves, mark, marked) in zip(axes, rows, strict=True):
        for panel, block in zip(line, blocks, strict=True):
            drawn = [(one.steps, curves(one)[block]) for one in clips if block in curves(one)]
            _panel(panel, drawn, mark, marked if panel is line[0] else "")
            if not drawn:
                panel.text(0.5, 0.5, "is the anchor", ha="center", va="center", transform=panel.transAxes, color="grey")
        line[0].set_ylabel(name)
        if name == "beta":  # 1 changes nothing, and a beta that never rises should not look as if it trembled
            line[0].set_ylim(bottom=0.95, top=1.1 * line[0].get_ylim()[1])
    for panel, block in zip(axes[0], blocks, strict=True):
        panel.set_title(f"{block}{' (anchor)' if block == first.anchor else ''}", fontsize=10)
    for panel in axes[-1]:
        panel.set_xlabel("step")
        panel.xaxis.get_major_locator().set_params(integer=True, nbins=8)
    count = "one clip" if len(clips) == 1 else f"{len(clips)} clips, thick: their mean"
    figure.suptitle(f"Temporal attention in the recorded steps ({count})", fontsize=11)
    return figure


def draw_maps(path: Path, maps: Mapping[str, Sequence[np.ndarray]], steps: Sequence[int]) -> None:
    """Maps of a site of each block over the steps (as in the paper's Figure 4): bright is where a frame looks.

    Args:
        path: of the picture.
        maps: by block, one (F, F) for each step.
        steps: their numbers, from 0.

    Raises:
        ByTheWayError: matplotlib is not installed, or the file cannot be written.
    """
    shown = np.unique(np.linspace(0, len(steps) - 1, min(_MOST_MAPS, len(steps))).round().astype(int))
    figure = _figure(1.6 + 1.9 * len(shown), 1.0 + 2.0 * len(maps))
    axes = figure.subplots(len(maps), len(shown), squeeze=False, sharex=True, sharey=True)
    for line, (block, of_block) in zip(axes, maps.items(), strict=True):
        # Each block by itself: the energy of one may be ten times that of another.
        largest = max(float(np.max(of_block[index])) for index in shown)
        for panel, index in zip(line, shown, strict=True):
            image = panel.imshow(of_block[index], vmin=0, vmax=largest, cmap="magma", interpolation="nearest")
            panel.set(xticks=[], yticks=[])
        line[0].set_ylabel(f"{block}\nquery frame", fontsize=9)
        figure.colorbar(image, ax=list(line), shrink=0.85, pad=0.01)
    for panel, index in zip(axes[0], shown, strict=True):
        panel.set_title(f"step {steps[index] + 1}", fontsize=10)
    for panel in axes[-1]:
        panel.set_xlabel("key frame", fontsize=9)
    figure.suptitle("Maps of each block's first site, mean over pixels and heads", fontsize=11)
    _save(figure, path)


def _panel(panel: Any, drawn: Sequence[tuple[Sequence[int], Curve]], mark: float | None, marked: str) -> None:
    """The curves of one block, and a dashed line to hold them against."""
    for steps, curve in drawn:
        alone = len(drawn) == 1
        panel.plot(np.add(steps, 1), curve, color=_LINE if alone else _FAINT, linewidth=1.8 if alone else 0.8)
    if len(drawn) > 1:
        shortest = min(len(curve) for _, curve in drawn)
        mean = np.mean([curve[:shortest] for _, curve in drawn], axis=0)
        panel.plot(np.add(drawn[0][0][:shortest], 1), mean, color=_LINE, linewidth=2.2)
    if mark is not None:
        panel.axhline(mark, color=_MARK, linewidth=0.9, linestyle="--")
        panel.annotate(marked, (0.02, mark), (0, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
                       fontsize=8, color=_MARK)  # fmt: skip
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.tick_params(labelsize=8)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ByTheWayError("Pictures need matplotlib; install it (pip install matplotlib).") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    with written(path) as draft:
        figure.savefig(draft, dpi=130)
