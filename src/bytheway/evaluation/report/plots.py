"""Drawings of figures as SVG, in the colours that the page gives its two sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from bytheway.evaluation.comparison import Contrast
from bytheway.evaluation.report.words import number
from bytheway.evaluation.statistics import EQUAL

WIDTH, HEIGHT, MIDDLE, RADIUS = 300, 64, 27, 3.2
_MARGIN = 10


def differences(contrast: Contrast, labels: Sequence[str], targets: Sequence[str | None]) -> str:
    """Every pair's difference as a dot, right where the second clip is better, above the mean and its interval.

    Args:
        contrast: the measure.
        labels: what each dot says when it is pointed at, (pairs,).
        targets: the id of the pair on the page, or None, (pairs,).
    """
    sign = -1 if contrast.example.direction == "lower" else 1
    present = np.flatnonzero(~np.isnan(contrast.differences)).tolist()
    values = contrast.differences * sign
    ends = [0.0, *values[present].tolist()]
    if not math.isnan(contrast.difference.low):
        ends += [contrast.difference.low, contrast.difference.high]
    reach = max(10 * EQUAL, *map(abs, ends))

    def x(value: float) -> float:
        return float(round(WIDTH / 2 + (WIDTH / 2 - _MARGIN) * value / reach, 1))

    drawn = [f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="2" y2="{HEIGHT - 14}"/>']
    lifted = _lifted([x(values[index]) for index in present])
    for index, lift in zip(present, lifted, strict=True):
        side = "tie" if abs(values[index]) <= EQUAL else "second" if values[index] > 0 else "first"
        dot = (
            f'<circle class="{side}" cx="{x(values[index])}" cy="{MIDDLE - 6 - lift}" r="{RADIUS}">'
            f"<title>{escape(labels[index])}: {number(contrast.differences[index], signed=True)}</title></circle>"
        )
        target = targets[index]
        drawn.append(f'<a href="#{target}">{dot}</a>' if target else dot)
    mean = sign * contrast.difference.value
    if not math.isnan(contrast.difference.low):
        low, high = sorted((x(sign * contrast.difference.low), x(sign * contrast.difference.high)))
        drawn.append(f'<line class="interval" x1="{low}" x2="{high}" y1="{MIDDLE + 8}" y2="{MIDDLE + 8}"/>')
    if not math.isnan(mean):
        drawn.append(f'<circle class="mean" cx="{x(mean)}" cy="{MIDDLE + 8}" r="4.5"/>')
    edges = ((_MARGIN, -reach, "start"), (WIDTH - _MARGIN, reach, "end")) if any(ends) else ()
    for place, value, anchor in edges:
        label = number(sign * value, signed=True)
        drawn.append(f'<text x="{place}" y="{HEIGHT - 3}" text-anchor="{anchor}">{label}</text>')
    drawn.append(f'<text x="{x(0)}" y="{HEIGHT - 3}" text-anchor="middle">0</text>')
    said = f"{contrast.example.name}: differences of {len(present)} pairs, mean {number(contrast.difference.value)}"
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}"'
    return f'<svg class="dots" {box}>{"".join(drawn)}</svg>'


def _lifted(places: Sequence[float]) -> list[float]:
    """How far above the line each dot is drawn, so that few hide one another; piled no higher than there is room."""
    levels: list[list[float]] = [[] for _ in range(4)]
    lifts: list[float] = []
    for place in places:
        free = (n for n, level in enumerate(levels) if all(abs(place - other) >= 2 * RADIUS for other in level))
        level = next(free, len(lifts) % len(levels))
        levels[level].append(place)
        lifts.append(level * 5.0)
    return lifts


def outcome_bar(contrast: Contrast) -> str:
    """Losses, ties and wins of the second as one bar."""
    found = contrast.outcomes
    total = found.wins + found.ties + found.losses
    if not total:
        return ""
    pieces = (("first", found.losses), ("tie", found.ties), ("second", found.wins))
    spans = "".join(f'<i class="{kind}" style="flex:{count}"></i>' for kind, count in pieces if count)
    return f'<span class="bar" role="img" aria-label="{found.losses}, {found.ties}, {found.wins}">{spans}</span>'


def curves(series: Sequence[tuple[str, Sequence[int], Sequence[float]]], length: int) -> str:
    """A measure over the frames of some clips, one line each.

    Args:
        series: class of the line, the frames that the values belong to, and the values.
        length: how many frames there are.
    """
    finite = [value for _, _, values in series for value in values if not math.isnan(value)]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    spread = high - low or 1.0
    drawn = []
    for kind, at, values in series:
        points = [
            (round(2 + 96 * frame / max(1, length - 1), 1), round(22 - 20 * (value - low) / spread, 1))
            for frame, value in zip(at, values, strict=True)
            if not math.isnan(value)
        ]
        path = " ".join(f"{x},{y}" for x, y in points)
        drawn.append(f'<polyline class="{kind}" points="{path}"/>' if len(points) > 1 else "")
    return (
        f'<svg class="curve" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">{"".join(drawn)}</svg>'
    )
