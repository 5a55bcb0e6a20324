"""Results as Markdown: the full tables of a kind of device, and the short one that `docs/benchmarks` shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from benchmarks.columns import FREE_INIT, OURS, PLAIN, VANILLA
from benchmarks.results import Measurement, Part, Results
from benchmarks.statistics import ratio, spread
from research.markdown import table

# What ours should not exceed, as a ratio to vanilla.
GOALS: Final[Mapping[str, float]] = {
    "anchor": 1.05,
    "guided": 1.2,
    "active step": 1.02,
    "run": 1.005,
    "memory": 1.01,
}
# How many times the overhead of ours that of the plain form should be at least.
LEAST_OVERHEAD: Final = 3.0
_OTHERS: Final = (PLAIN, FREE_INIT)


def full(results: Results, plot: str | None) -> str:
    """Every row, with spreads, notes, machines and profiles; `plot` is the name of the picture, if there is one."""
    sections = [
        "# What the method costs",
        *_legend(),
    ]
    if plot is not None:
        sections += [f"![The attention alone, and what steps, runs and memory cost on top of vanilla]({plot})", ""]
    for parts in results.values():
        sections += [f"## {next(iter(parts.values())).title}", ""]
        for name, part in parts.items():
            tables = [_table(part.measurements), ""] if part.measurements else []
            sections += [f"### {name}: {part.setting}", "", *tables, _conditions(part), ""]
            sections += [f"- {words}" for words in (*part.words, *(f"Not measured: {row}." for row in part.missing))]
            sections += [""] if part.words or part.missing else []
    return "\n".join(sections)


def short(results: Results) -> str:
    """One table: of each case the attention of its first and last block, step, run, memory and waits."""
    columns = (OURS, *_OTHERS)
    heads = ["", VANILLA, *columns]
    lines = []
    for parts in results.values():
        title = next(iter(parts.values())).title
        scale = next((part.setting for name, part in parts.items() if name in ("step", "run")), None)
        lines.append([f"**{title}**{f' ({scale})' if scale else ''}", *[""] * (len(heads) - 1)])
        rows = [row for part in parts.values() for row in _in_short(part.measurements)]
        lines += [[_named(row), _vanilla(row), *(_cell(row, column) for column in columns)] for row in rows]
    machines = dict.fromkeys(machine_line(part) for parts in results.values() for part in parts.values())
    return "\n\n".join([table(heads, lines), "<br>\n".join(machines)])


def with_short(page: str, kind: str, results: Results) -> str:
    """A page with the short table of a kind of device between its markers; one that has none stays as it is."""
    marked = re.compile(rf"(<!-- python -m benchmarks: {kind} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    return marked.sub(lambda match: match[1] + short(results) + match[2], page)


def machine_line(part: Part) -> str:
    """Hardware, threads, versions and date in one sentence."""
    machine = part.machine
    return f"{machine['hardware']}, {machine['threads']} threads; {machine['versions']}; {machine['date']}."


def _conditions(part: Part) -> str:
    waits = part.machine.get("OMP_WAIT_POLICY")  # absent from what was measured before it was noted
    threads = f" OMP_WAIT_POLICY: {waits}." if waits else ""
    return f"{machine_line(part)} Load before: {part.machine['load before']}.{threads}"


def _legend() -> Iterator[str]:
    yield ""
    yield "Written by `python -m benchmarks`; [README.md](README.md) says how to read it."
    yield ""


def _table(rows: Iterable[Measurement]) -> str:
    columns = (OURS, *_OTHERS)
    overhead = f"overhead of plain, times that of ours (goal: {LEAST_OVERHEAD:g})"
    lines = []
    for row in rows:
        cells = (_cell(row, column, quartiles=True) for column in columns)
        lines.append([_named(row), str(len(row.values[VANILLA])), _vanilla(row), *cells, _goal(row), _overhead(row)])
    return table(["", "rounds", VANILLA, *columns, "goal for ours", overhead], lines)


def _named(row: Measurement) -> str:
    name = f"{row.figure} attention, {row.what}" if row.figure in ("anchor", "guided") else row.what
    return f"{name} ({row.note})" if row.note else name


def _vanilla(row: Measurement) -> str:
    median = spread(row.values[VANILLA]).median
    if row.unit == "ms" and median >= 10_000:
        return f"{_number(median / 1000)} s"
    return f"{_number(median)} {row.unit}".strip()


def _cell(row: Measurement, column: str, quartiles: bool = False) -> str:
    """The median of the ratios to vanilla; of counts, what comes on top of vanilla's."""
    if column not in row.values:
        return "–"
    values, vanilla = row.values[column], row.values[VANILLA]
    if row.unit == "":
        return f"{values[0] - vanilla[0]:+.0f}"
    found = ratio(values, vanilla)
    spreads = f" ({found.low:.3f} to {found.high:.3f})" if quartiles and len(values) > 1 else ""
    return f"{found.median:.3f}{spreads}"


def _goal(row: Measurement) -> str:
    if row.figure == "syncs":
        return f"+0: {_reached(row.values[OURS][0] <= row.values[VANILLA][0])}"
    if row.figure not in GOALS:
        return "–"
    goal, found = GOALS[row.figure], ratio(row.values[OURS], row.values[VANILLA])
    doubt = ", within its spread" if found.low < goal < found.high else ""
    return f"{goal:g}: {_reached(found.median <= goal)}{doubt}"


def _overhead(row: Measurement) -> str:
    """How many times what ours adds to vanilla the plain form adds, where the spreads let both be told from nothing."""
    if row.unit == "" or PLAIN not in row.values:
        return "–"
    plain, ours = (ratio(row.values[column], row.values[VANILLA]) for column in (PLAIN, OURS))
    for name, found in (("ours", ours), ("plain", plain)):
        if round(found.median, 3) <= 1:
            return f"{name} has none"
        if found.low <= 1:
            return f"that of {name} is within its spread"
    times = (plain.median - 1) / (ours.median - 1)
    return f"{times:.1f}: {_reached(times >= LEAST_OVERHEAD)}"


def _reached(yes: bool) -> str:
    return "reached" if yes else "missed"


def _in_short(rows: list[Measurement]) -> list[Measurement]:
    """All but curves and steps that are not active; of the attention the first block and the last, in one precision."""
    core = [row for row in rows if row.figure in ("anchor", "guided", "joint")]
    first = [row for row in core if _precision(row) == _precision(core[0])]
    ends = [first[0], first[-1]] if len(first) > 1 else first
    return ends + [row for row in rows if row.figure in ("active step", "run", "memory", "syncs")]


def _precision(row: Measurement) -> str:
    """The last word of what the row of an attention is about."""
    return row.what.rpartition(", ")[2]


def _number(value: float) -> str:
    """Three digits, but never fewer than there are before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
