"""The figures as Markdown tables. A difference whose interval leaves out zero is in bold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bytheway.evaluation.statistics import Estimate
from research.markdown import number, quantity, table
from research.study.agreement import TRUTHS, Agreement
from research.study.attention import MOTION, Attention
from research.study.curves import Curve
from research.study.results import BASELINE, MEASURES, Choice, Comparison

SUMMARY = ("subject", "motion", "broken", "misshapen", "dynamic", "motion_range", "jerk")


def summary(comparison: Comparison) -> str:
    """The README's table: a line for each treatment, its means, and the differences to vanilla that are no chance."""
    lines = []
    for name, values in comparison.values.items():
        differences = comparison.differences.get(name, {})
        cells = [_short(measure, values[measure], differences.get(measure)) for measure in SUMMARY]
        lines.append([name, *cells])
    return table(["", *(MEASURES[measure][0] for measure in SUMMARY)], lines)


def values(comparison: Comparison) -> str:
    """Measures by treatments: means with their intervals."""
    return _by_measure(comparison.values, bold=False)


def differences(comparison: Comparison) -> str:
    """Measures by treatments: mean differences to vanilla, paired, with their intervals."""
    return _by_measure(comparison.differences, bold=True)


def sweep(comparison: Comparison, measures: Sequence[str], paper: str | None) -> str:
    """Points of a sweep by measures: mean differences to vanilla; the paper's is marked."""
    lines = [
        [f"{point} (paper)" if point == paper else point, *(figure(row[m], _unit(m), bold=True) for m in measures)]
        for point, row in comparison.differences.items()
    ]
    return table(["", *(MEASURES[m][0] for m in measures)], lines)


def choice(chosen: Choice) -> str:
    """A setting with what it changes, in one line."""
    changes = ", ".join(
        f"{MEASURES[name][0]} {figure(estimate, _unit(name), bold=True)}"
        for name, estimate in (("dynamic", chosen.dynamic), ("broken", chosen.broken))
    )
    return f"`{chosen.variant.key}`: {changes} over {chosen.dynamic.n} prompts."


PAPER_FIGURE_2 = {"energy": "0.10 to 0.22", "ρ": "about 0.9", "disparity": "about 1.3", "near-static": "many"}
"""What the paper's Figure 2 shows of AnimateDiff, by the first word of what is shown."""


def regime(found: Mapping[str, Attention], compared: Mapping[str, Comparison]) -> str:
    """What the paper shows of AnimateDiff beside the same of each model: is it one that the method is for?"""
    columns = {model: _regime(attention, compared.get(model)) for model, attention in found.items()}
    lines = [
        [what, PAPER_FIGURE_2.get(what.split()[0], "–"), *(column.get(what, "–") for column in columns.values())]
        for what in dict.fromkeys(what for column in columns.values() for what in column)
    ]
    return table(["", "the paper's AnimateDiff", *columns], lines)


def _regime(attention: Attention, comparison: Comparison | None) -> dict[str, str]:
    """What one model shows, by what it is."""
    found = {
        f"energy in {block}, 5th to 95th percentile of clips": f"{low:.2f} to {high:.2f}"
        for block, (low, high) in attention.spreads.items()
    }
    for block, measures in attention.with_motion.items():
        found[f"ρ of energy in {block} with flow"] = figure(measures["flow"], "", bold=True)
    for block, (good, bad, _) in attention.disparity_by_step.items():
        excess = bad[-1].value / good[-1].value if good[-1].value else math.nan
        found[f"disparity in {block} at the last step, bad half over good"] = f"{excess:.2f}"
    if comparison is not None:
        vanilla = comparison.values[BASELINE]
        found |= {MEASURES[name][0]: figure(vanilla[name], "%") for name in ("near_static", "broken")}
    return found


def disparity(attention: Attention) -> str:
    """The paper's Figures 2a and 2b, by block."""
    heads = [
        "block",
        "ρ with broken",
        "ρ with confidence",
        "good half",
        "bad half",
        "bad less good",
        "under the paper's settings, as made",
        "as guided",
        "as made, less vanilla",
    ]
    lines = [
        [
            block,
            *(figure(e, "", bold=True) for e in (found.with_broken, found.with_confidence)),
            *(figure(e, "") for e in (found.good, found.bad)),
            figure(found.bad_less_good, "", bold=True),
            *(figure(e, "") for e in (found.after, found.after_guidance)),
            figure(found.change, "", bold=True),
        ]
        for block, found in attention.disparities.items()
    ]
    return table(heads, lines)


def energy(attention: Attention) -> str:
    """The paper's Figure 2c, by block."""
    lines = [
        [block, figure(attention.energies[block], ""), *(figure(found[name], "", bold=True) for name in MOTION)]
        for block, found in attention.with_motion.items()
    ]
    return table(["block", "energy", *(f"ρ with {MEASURES[name][0]}" for name in MOTION)], lines)


def guidance(attention: Attention) -> str:
    """What guidance and amplification do to the energy, by block."""
    lines = [
        [
            block,
            *(figure(e, "") for e in (found.made, found.guided)),
            figure(found.gained, "", bold=True),
            figure(found.used, ""),
            figure(found.enough, "%"),
        ]
        for block, found in attention.guidance.items()
    ]
    return table(["block", "as made", "guided", "guided less as made", "as used", "beta at its least"], lines)


def agreement(found: Agreement) -> str:
    """Correlations of measures with truths, over vanilla clips and over what the preset changes."""
    kinds = {"over clips": found.clips, "over changes": found.changes}
    truths = [(kind, correlations, truth) for kind, correlations in kinds.items() if correlations for truth in TRUTHS]
    lines = [
        [name, figure(value, ""), *(figure(by[name][truth], "", bold=True) for _, by, truth in truths)]
        for name, value in found.values.items()
    ]
    heads = [f"ρ with {MEASURES[truth][0]}, {kind}" for kind, _, truth in truths]
    return table(["measure", "mean", *heads], lines)


def beta(attention: Attention) -> str:
    """The adaptive beta (the paper's Figure 12): blocks by some of the steps."""
    steps = max((len(row) for row in attention.beta_by_step.values()), default=0)
    shown = sorted({*range(0, steps, max(1, steps // 8)), steps - 1} - {-1})
    lines = [[block, *(figure(row[k], "") for k in shown)] for block, row in attention.beta_by_step.items()]
    return table(["block", *(f"step {k + 1}" for k in shown)], lines)


def swaps(curves: Mapping[str, Curve], active: int) -> str:
    """When attributes are decided, in steps, and what is decided once the method has done its steps."""
    lines = [
        [
            name,
            str(curve.n),
            figure(curve.decided, "steps"),
            figure(curve.first[active], "%"),
            figure(curve.second[active], "%"),
        ]
        for name, curve in curves.items()
    ]
    heads = ["attribute", "pairs", "half decided after"]
    return table([*heads, *(f"swap after {active}: shows the {which}" for which in ("first", "second"))], lines)


def _by_measure(columns: Mapping[str, Mapping[str, Estimate]], *, bold: bool) -> str:
    measures = next(iter(columns.values()), {})
    lines = [
        [
            MEASURES[m][0] + (f", {_unit(m)}" if _unit(m) else ""),
            *(figure(row[m], _unit(m), bold=bold, bare=True) for row in columns.values()),
        ]
        for m in measures
    ]
    return table(["", *columns], lines)


def _unit(measure: str) -> str:
    return MEASURES[measure][1]


def _short(measure: str, value: Estimate, difference: Estimate | None) -> str:
    unit = _unit(measure)
    text = quantity(value.value, unit)
    if difference is not None and difference.differs:
        return f"**{text}** ({number(difference.value, unit, signed=True)})"
    return text


def figure(estimate: Estimate, unit: str, *, bold: bool = False, bare: bool = False) -> str:
    """``value unit [low, high]``: `bold` signs it, and marks it where zero is left out; `bare` leaves the unit away."""
    if math.isnan(estimate.value):
        return "–"
    value, low, high = (number(v, unit, signed=bold) for v in (estimate.value, estimate.low, estimate.high))
    if bold and estimate.differs:
        value = f"**{value}**"
    if math.isnan(estimate.low):
        return value if bare or not unit else f"{value} {unit}"
    return f"{value} [{low}, {high}]" if bare or not unit else f"{value} {unit} [{low}, {high}]"
