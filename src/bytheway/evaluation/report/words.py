"""Figures in words: numbers in their units, intervals, and who is ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bytheway.evaluation.comparison import Comparison, Contrast
from bytheway.evaluation.scores import ClipScores, example_of, names_of, summary_of, values_of
from bytheway.evaluation.statistics import FEW_PROMPTS, FEWEST_PROMPTS, Estimate


def number(value: float, *, signed: bool = False) -> str:
    """Four decimals below 10, as tables of VBench have them, fewer above; a dash for NaN."""
    if math.isnan(value):
        return "–"
    decimals = 4 if abs(value) < 10 else 2 if abs(value) < 1000 else 0
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    return text.replace("-", "−")


def said(value: float | bool) -> str:
    """A clip's value: a number, or yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value)


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Both ends of the 95 % interval; a dash where there is none."""
    if math.isnan(estimate.low):
        return "–"
    return f"{number(estimate.low, signed=signed)} to {number(estimate.high, signed=signed)}"


def with_unit(name: str, unit: str) -> str:
    """The name of a measure with its unit, where it has one."""
    return f"{name} ({unit})" if unit else name


def score_rows(scores: Sequence[ClipScores]) -> list[tuple[str, ...]]:
    """Rows of `SCORE_HEADS`: each measure's mean over clips, and its clips with the lowest and the highest value."""
    rows = []
    for name in names_of(scores):
        example = example_of(scores, name)
        if example is None:
            continue
        values, found = values_of(scores, name), summary_of(scores, name)
        there = [(value, one.clip.name) for value, one in zip(values, scores, strict=True) if not math.isnan(value)]
        ends = [f"{number(value)} {clip}" for value, clip in (min(there), max(there))]
        shown = ends if len(there) > 1 else ["–", "–"]
        rows.append(
            (with_unit(name, example.unit), number(found.value), interval(found), f"{len(there)}", f"{found.n}", *shown)
        )
    return rows


def clip_rows(scores: Sequence[ClipScores]) -> list[tuple[str, ...]]:
    """A row for each clip: its name, and what each of `names_of` says of it."""
    found = [[one.measurements.get(name) for name in names_of(scores)] for one in scores]
    return [
        (one.clip.name, *("–" if measured is None else said(measured.value) for measured in its))
        for one, its in zip(scores, found, strict=True)
    ]


SCORE_HEADS = ("measure", "mean", "95 % interval", "clips", "prompts", "lowest", "highest")


def comparison_heads(comparison: Comparison) -> tuple[str, ...]:
    """Of the rows of `comparison_rows`."""
    first, second = comparison.names
    return ("measure", first, second, "difference", "95 % interval", "wins", "ties", "losses", "p", "ahead")


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """A row for each measure: means of both, the paired difference, and for how many pairs the second is better."""
    return [
        (
            with_unit(one.example.name, one.example.unit),
            number(one.first.value),
            number(one.second.value),
            number(one.difference.value, signed=True),
            interval(one.difference, signed=True),
            str(one.outcomes.wins),
            str(one.outcomes.ties),
            str(one.outcomes.losses),
            f"{one.p_value:.2g}",
            ahead(comparison, one),
        )
        for one in comparison.contrasts
    ]


def ahead(comparison: Comparison, one: Contrast) -> str:
    """The name of the side that is ahead; a dash where chance may be all there is."""
    return comparison.names[one.ahead == "second"] if one.ahead else "–"


def cautions(comparison: Comparison) -> list[str]:
    """What a reader should know before believing the figures, in sentences."""
    said = []
    if comparison.prompts == 1:
        said.append("All clips are of one prompt, so there are no intervals; nothing can be said of other prompts.")
    elif comparison.prompts < FEWEST_PROMPTS:
        said.append(
            f"From {comparison.prompts} prompts nothing is told: chance alone makes all of them agree too often; "
            f"compare at least {FEWEST_PROMPTS}."
        )
    elif comparison.prompts < FEW_PROMPTS:
        said.append(
            f"Intervals from {comparison.prompts} prompts are narrower than they should be; trust them from "
            f"{FEW_PROMPTS} prompts on."
        )
    measures = len(comparison.contrasts)
    if measures > 1:
        said.append(
            f"Of {measures} measures, {measures / 20:.1g} would seem to differ by chance alone, at 5 % each."
            if measures >= 10
            else f"With {measures} measures, one that differs by chance alone turns up in up to "
            f"{1 - 0.95**measures:.0%} of comparisons."
        )
    return said
