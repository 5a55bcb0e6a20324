"""What an experiment found, as files in its folder: a table, everything as JSON, and a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

from bytheway.evaluation.comparison import Comparison
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.report.page import comparison_page, wide_table
from bytheway.evaluation.report.words import interval, number, with_unit
from bytheway.evaluation.scores import ClipScores, example_of, names_of, scores_json, summary_of
from bytheway.files import write_text

TABLE: Final = "table.csv"
PAGE: Final = "page.html"
SCORES: Final = "scores.json"
COMPARISON: Final = "comparison.json"

_COLUMNS: Final = (
    "measure",
    "unit",
    "arm",
    "mean",
    "low",
    "high",
    "prompts",
    "difference",
    "difference_low",
    "difference_high",
    "wins",
    "ties",
    "losses",
    "p",
)


def arm_rows(scores: Mapping[str, Sequence[ClipScores]]) -> list[tuple[str, ...]]:
    """A row for each measure: the mean of each arm with its interval."""
    first = next(iter(scores.values()))
    rows = []
    for name in names_of(first):
        example = example_of(first, name)
        if example is None:
            continue
        found = [summary_of(its, name) for its in scores.values()]
        rows.append((with_unit(name, example.unit), *(f"{number(one.value)} [{interval(one)}]" for one in found)))
    return rows


def write_results(
    experiment: Experiment,
    scores: Mapping[str, Sequence[ClipScores]],
    comparisons: Sequence[Comparison],
    *,
    model: str,
    paper: tuple[Sequence[str], Sequence[Sequence[str]], Sequence[str]] | None = None,
    on_strip: Callable[[int, int], None],
) -> None:
    """Write `table.csv`, `scores.json`, `comparison.json` and `page.html`.

    Args:
        experiment: where to.
        scores: of the clips, by the arm's name.
        comparisons: of the other arms with the first.
        model: what it is called.
        paper: heads, rows and remarks of a table that is set beside.
        on_strip: hears how far the page is.
    """
    folder = experiment.folder
    write_text(folder / SCORES, json.dumps({arm: scores_json(its) for arm, its in scores.items()}, indent=1) + "\n")
    write_text(folder / COMPARISON, json.dumps([one.to_dict() for one in comparisons], indent=1) + "\n")
    write_text(folder / TABLE, _table(scores, comparisons))
    clips, prompts = len(experiment.names()), len(experiment.prompts)
    subtitle = f"{prompts} prompts, {clips} clips an arm, made by {model}"
    extra = _paper_table(*paper) if paper else ""
    title = " · ".join(arm.name for arm in experiment.arms)
    page = comparison_page(comparisons, title=title, subtitle=subtitle, extra=extra, on_strip=on_strip)
    write_text(folder / PAGE, page)


def _table(scores: Mapping[str, Sequence[ClipScores]], comparisons: Sequence[Comparison]) -> str:
    """A line for each measure and arm, with its paired difference to the baseline; numbers in full."""
    by_arm = {one.names[1]: {contrast.example.name: contrast for contrast in one.contrasts} for one in comparisons}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name in names_of(next(iter(scores.values()))):
        for arm, its in scores.items():
            example = example_of(its, name)
            if example is None:
                continue
            found = summary_of(its, name)
            line = [name, example.unit, arm, found.value, found.low, found.high, found.n]
            contrast = by_arm.get(arm, {}).get(name)
            if contrast is not None:
                told, counted = contrast.difference, contrast.outcomes
                line += [told.value, told.low, told.high, counted.wins, counted.ties, counted.losses, contrast.p_value]
            writer.writerow(line + [""] * (len(_COLUMNS) - len(line)))
    return text.getvalue()


def _paper_table(heads: Sequence[str], rows: Sequence[Sequence[str]], remarks: Sequence[str]) -> str:
    said = "".join(f"<li>{escape(one)}</li>" for one in remarks)
    table = wide_table(heads, rows)
    return f"<section><h2>Beside the paper's Table 2</h2>{table}<ul class='cautions'>{said}</ul></section>"
