"""A record as a picture and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from bytheway.clips.sheets import INK, PAPER
from bytheway.record import Record, Row

_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 260, 90, 190, 44, 34
# Told apart also by those who do not see red from green (Okabe and Ito).
_COLOURS: Final = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))
_GRID: Final = (222, 224, 228)

Point = tuple[int, int]  # run and step


class Line(NamedTuple):
    """One line of a panel: a mean for each step in which there is one."""

    label: str
    values: Mapping[Point, float]
    colour: tuple[int, int, int]
    thin: bool = False


def draw(record: Record) -> Image.Image:
    """Energy before (thin) and after, disparity and beta of each block, step by step, one panel each."""
    rows = record.rows()
    blocks = list(dict.fromkeys(row.block for row in rows))
    colours = {block: _COLOURS[number % len(_COLOURS)] for number, block in enumerate(blocks)}
    moments = sorted({(row.run, row.step) for row in rows})
    energies = [
        line
        for block in blocks
        for line in (
            Line(f"{block} before", _means(rows, block, lambda row: row.energy), colours[block], thin=True),
            Line(f"{block} after", _means(rows, block, lambda row: row.energy_after), colours[block]),
        )
    ]
    disparities = [Line(block, _means(rows, block, lambda row: row.disparity), colours[block]) for block in blocks]
    betas = [Line(block, _means(rows, block, lambda row: row.beta), colours[block]) for block in blocks]
    panels = [
        _panel("motion energy", energies, moments),
        _panel("disparity to the anchor block", disparities, moments),
        _panel("beta: amplification of fast changes", betas, moments),
    ]
    picture = Image.new("RGB", (_WIDTH, _PANEL * len(panels)), PAPER)
    for number, panel in enumerate(panels):
        picture.paste(panel, (0, _PANEL * number))
    return picture


def tables(record: Record) -> str:
    """Means of each block in each step."""
    rows = record.rows()
    lines: list[tuple[str, ...]] = [("run", "step", "block", "energy", "enhanced", "disparity", "beta")]
    for run, step, block in dict.fromkeys((row.run, row.step, row.block) for row in rows):
        here = [row for row in rows if (row.run, row.step, row.block) == (run, step, block)]
        away = [row.disparity for row in here if row.disparity is not None]
        numbers = (fmean(row.energy for row in here), fmean(row.energy_after for row in here))
        means = [f"{value:.4f}" for value in numbers]
        disparity = f"{fmean(away):.4f}" if away else "–"
        lines.append((str(run), str(step), block, *means, disparity, f"{fmean(row.beta for row in here):.3f}"))
    return "\n".join([repr(record), "", *in_columns(lines)])


def in_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table as text, its columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _means(rows: Sequence[Row], block: str, number: Callable[[Row], float | None]) -> dict[Point, float]:
    found: dict[Point, list[float]] = {}
    for row in rows:
        value = number(row) if row.block == block else None
        if value is not None:
            found.setdefault((row.run, row.step), []).append(value)
    return {moment: fmean(values) for moment, values in found.items()}


def _panel(title: str, lines: Sequence[Line], moments: Sequence[Point]) -> Image.Image:
    panel = Image.new("RGB", (_WIDTH, _PANEL), PAPER)
    pen, font = ImageDraw.Draw(panel), ImageFont.load_default(15)
    pen.text((_LEFT, _TOP / 2), title, fill=INK, font=ImageFont.load_default(18), anchor="lm")
    lines = [line for line in lines if line.values]
    if not lines:
        pen.text((_LEFT, _PANEL / 2), "none here", fill=INK, font=font, anchor="lm")
        return panel
    values = [value for line in lines for value in line.values.values()]
    low, high = min(values), max(values)
    margin = (high - low or abs(high) or 1.0) * 0.08
    low, high = max(low - margin, 0.0), high + margin  # none of these numbers is below 0

    def place(moment: Point, value: float) -> tuple[float, float]:
        across = (moments.index(moment) + 0.5) / len(moments)
        up = (value - low) / (high - low)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _PANEL - _BOTTOM - up * (_PANEL - _TOP - _BOTTOM)

    for tick in range(5):
        value = low + (high - low) * tick / 4
        height = place(moments[0], value)[1]
        pen.line([(_LEFT, height), (_WIDTH - _RIGHT, height)], fill=_GRID)
        pen.text((_LEFT - 8, height), f"{value:.4g}", fill=INK, font=font, anchor="rm")
    every = max(1, len(moments) // 10)
    several = len({run for run, _ in moments}) > 1
    for run, step in moments[::every]:
        label = f"{run}.{step}" if several else f"step {step}"
        pen.text((place((run, step), low)[0], _PANEL - _BOTTOM + 14), label, fill=INK, font=font, anchor="mm")
    for number, line in enumerate(lines):
        points = [place(moment, value) for moment, value in line.values.items()]
        pen.line(points, fill=line.colour, width=1 if line.thin else 3)
        radius = 3 if line.thin else 4
        for x, y in points:
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=line.colour)
        top = _TOP + 22 * number
        pen.line([(_WIDTH - _RIGHT + 12, top), (_WIDTH - _RIGHT + 34, top)], line.colour, 1 if line.thin else 3)
        pen.text((_WIDTH - _RIGHT + 42, top), line.label, fill=INK, font=font, anchor="lm")
    return panel
