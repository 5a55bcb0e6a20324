"""What the judge said, as rows for a terminal and as files in the experiment's folder: figures as JSON, and a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

import bytheway
from bytheway.evaluation.comparison import Comparison
from bytheway.evaluation.judge.run import FORMAT, Choice
from bytheway.evaluation.judge.summary import Figures, Judgement
from bytheway.evaluation.report.page import comparison_page, wide_table
from bytheway.evaluation.report.words import interval, number
from bytheway.evaluation.scores import json_ready
from bytheway.evaluation.statistics import Estimate
from bytheway.files import write_text

FIGURES: Final = "judge.json"
PAGE: Final = "judge.html"

HEADS: Final = (
    "question",
    "arm",
    "share of decided",
    "first place",
    "changed by the swap",
    "no verdict",
    "no answer",
)
AGREEMENT_HEADS: Final = ("question", "arm", "pairs", "as people say", "without ties", "kappa")

ByQuestion = Mapping[tuple[str, str], Figures]
"""Figures by the other arm and the question's name."""


@dataclass(frozen=True)
class Spent:
    """What calls took. `cost` is None without prices; of `uncounted` calls the server counted no tokens."""

    calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    uncounted: int


def spent(lines: Sequence[Mapping[str, Any]]) -> Spent:
    """What kept calls took together."""
    costs = [line["cost"] for line in lines if line["cost"] is not None]
    return Spent(
        len(lines),
        sum(line["tokens_in"] or 0 for line in lines),
        sum(line["tokens_out"] or 0 for line in lines),
        sum(costs) if costs else None,
        sum(line["tokens_in"] is None or line["tokens_out"] is None for line in lines),
    )


def rows(found: ByQuestion) -> list[tuple[str, ...]]:
    """A row of `HEADS` for each question and arm."""
    return [
        (
            question,
            arm,
            _with_interval(one.decided),
            _with_interval(one.first_place),
            _with_interval(one.changed),
            str(one.no_verdict),
            str(one.unanswered),
        )
        for (arm, question), one in found.items()
    ]


def agreement_rows(found: ByQuestion) -> list[tuple[str, ...]]:
    """A row of `AGREEMENT_HEADS` for each question and arm that people voted on."""
    return [
        (
            question,
            arm,
            str(one.agreement.pairs),
            _with_interval(one.agreement.with_ties),
            _with_interval(one.agreement.without_ties),
            _with_interval(one.agreement.kappa),
        )
        for (arm, question), one in found.items()
        if one.agreement is not None
    ]


def _with_interval(estimate: Estimate) -> str:
    return f"{number(estimate.value)} [{interval(estimate)}]"


def write_figures(
    folder: Path,
    choice: Choice,
    endpoint: str,
    found: Sequence[Judgement],
    comparisons: Sequence[Comparison],
    figures: ByQuestion,
    all_spent: Spent,
) -> None:
    """Write `judge.json`.

    Args:
        folder: of the experiment.
        choice: what was asked.
        endpoint: who, without a password.
        found: every judgement.
        comparisons: the verdicts as measures, each arm against the baseline.
        figures: by arm and question.
        all_spent: in this folder, at any time and by any model.
    """
    content = {
        "format": FORMAT,
        "made_with": {"bytheway": bytheway.__version__},
        "model": choice.model,
        "endpoint": endpoint,
        "frames": choice.frames,
        "detail": choice.detail,
        "questions": {one.name: one.text for one in choice.questions},
        "spent": asdict(all_spent),
        "comparisons": [
            {
                **one.to_dict(),
                "figures": {
                    name: json_ready(asdict(its)) for (arm, name), its in figures.items() if arm == one.names[1]
                },
            }
            for one in comparisons
        ],
        "judgements": [_judgement(one) for one in found],
    }
    write_text(folder / FIGURES, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_page(
    folder: Path,
    choice: Choice,
    found: Sequence[Judgement],
    comparisons: Sequence[Comparison],
    figures: ByQuestion,
    on_strip: Callable[[int, int], None],
) -> None:
    """Write `judge.html`; `on_strip` hears how far it is, the rest is as for `write_figures`."""
    page = comparison_page(
        comparisons,
        title=" · ".join([comparisons[0].names[0], *(one.names[1] for one in comparisons)]),
        subtitle=f"judged by {choice.model}, which saw {choice.frames} frames of each clip",
        extra=_trust(choice, figures),
        remarks=_remarks(found),
        on_strip=on_strip,
    )
    write_text(folder / PAGE, page)


def _judgement(one: Judgement) -> dict[str, Any]:
    return {
        "prompt": one.pair.prompt,
        "seed_index": one.pair.seed_index,
        "arms": one.pair.arms,
        "question": one.question.name,
        "verdict": one.preferred,
        "answers": [said.answer for said in one.said],
        "reasons": [said.reason for said in one.said],
        "answered": one.answered,
    }


def _remarks(found: Sequence[Judgement]) -> dict[Path, list[str]]:
    """What stands beside the clips of a pair, by the baseline's clip: verdicts, and what the judge said for them."""
    remarks: dict[Path, list[str]] = {}
    for one in found:
        baseline, other = one.pair.arms
        said = [
            f"with {arm} as A: {its.answer or 'no answer'}{f', “{its.reason}”' if its.reason else ''}"
            for arm, its in zip(one.pair.arms, one.said, strict=True)
        ]
        remarks.setdefault(one.pair.paths[0], []).append(
            f"{one.question.title}, {other} against {baseline}: {one.preferred or 'no verdict'}; {'; '.join(said)}"
        )
    return remarks


def _trust(choice: Choice, figures: ByQuestion) -> str:
    """How far the verdicts can be trusted, and what was asked."""
    tables = [wide_table(HEADS, rows(figures))]
    if agreed := agreement_rows(figures):
        tables.append(wide_table(AGREEMENT_HEADS, agreed))
    asked = "".join(f"<li><b>{escape(one.title)}</b>: {escape(one.text)}</li>" for one in choice.questions)
    return (
        f"<section><h2>The judge</h2>{''.join(tables)}<p class='quiet'>Each pair was shown in both orders. The "
        "measures above are 1 for the better clip and 0 for the other where both answers name the same clip, and 0.5 "
        "for both otherwise. First place: how often the clip that came first was preferred, which is 0.5 of a judge "
        f"without a bias for places.</p><ul class='cautions'>{asked}</ul></section>"
    )
