"""The results of a study in words: rows of tables, and sentences."""

from __future__ import annotations

import math
from collections import Counter

from bytheway.evaluation.statistics import FEW_PROMPTS, FEWEST_PROMPTS, Estimate
from bytheway.evaluation.votes.results import Cell, Results
from bytheway.evaluation.votes.study import Study


def percent(estimate: Estimate) -> str:
    """A share with its interval; a dash where there is none."""
    if math.isnan(estimate.value):
        return "–"
    if math.isnan(estimate.low):
        return f"{estimate.value:.1%}"
    return f"{estimate.value:.1%} [{100 * estimate.low:.1f} to {100 * estimate.high:.1f}]"


def heads(arms: tuple[str, str]) -> tuple[str, ...]:
    """Of the rows of two arms."""
    first, second = arms
    return (
        "question",
        first,
        second,
        "tie",
        "both bad",
        f"{second}, of preferences",
        "over people and prompts",
        "p",
        "ahead",
        "alpha",
    )


def rows(results: Results, arms: tuple[str, str]) -> list[tuple[str, ...]]:
    """A row for each question about two arms: how often each was preferred, and what that tells."""
    return [
        (
            cell.question,
            str(cell.first),
            str(cell.second),
            str(cell.ties),
            str(cell.bad),
            percent(cell.share),
            "–" if math.isnan(cell.two_way.low) else f"{cell.two_way.low:.1%} to {cell.two_way.high:.1%}",
            f"{cell.p:.2g}",
            cell.ahead or "–",
            "–" if math.isnan(cell.alpha) else f"{cell.alpha:.2f}".replace("-", "−"),
        )
        for cell in results.cells
        if cell.arms == arms
    ]


def strength_rows(results: Results) -> list[tuple[str, ...]]:
    """A row for each question: how probable each arm is to be preferred to the first one."""
    return [(question, *map(percent, its.values())) for question, its in results.strengths.items()]


def verdicts(results: Results) -> list[str]:
    """For each cell that does not tell, how many votes would."""
    return [sentence for cell in results.cells if (sentence := _verdict(cell, several=_several(results)))]


def _several(results: Results) -> bool:
    return len({cell.arms for cell in results.cells}) > 1


def _verdict(cell: Cell, *, several: bool) -> str | None:
    if cell.ahead is not None:
        return None
    about = f"{cell.question}, {' and '.join(cell.arms)}" if several else cell.question
    if not cell.first + cell.second:
        return f"{about}: nobody has preferred either yet."
    if cell.more is None:
        return f"{about}: no number of votes that anybody would collect tells the two apart, were this the true share."
    if cell.more:
        return (
            f"{about}: {cell.more} more votes would tell (with a power of 80 %), were {cell.share.value:.0%} the true "
            "share and all votes independent."
        )
    if min(cell.people, cell.prompts) < FEWEST_PROMPTS:
        return (
            f"{about}: the sign test tells, but from {cell.people} people and {cell.prompts} prompts nothing is said "
            f"of others; have at least {FEWEST_PROMPTS} of each."
        )
    return f"{about}: the sign test tells, but the interval over people and prompts does not leave out 50 %."


def conduct_sentences(results: Results, study: Study) -> list[str]:
    """Who took part, who was left out and why, and how people did on checks and repeats."""
    said = [
        f"{results.people} people take part; {results.voted} have voted, {results.finished} of them to the end; "
        f"{results.withdrawn} withdrew. {results.counted} votes are counted."
    ]
    rules = dict(sentence.split(": ", 1) for sentence in study.rules.sentences(bool(study.checks)))
    counts = Counter(results.left_out.values())
    for name, rule in rules.items():
        said.append(f"Left out: {counts[name]}, by the rule fixed beforehand: {rule}.")
    if results.checks.n:
        said.append(f"Attention checks answered right: {percent(results.checks)}, of {results.checks.n}.")
    if results.repeated.n:
        said.append(
            f"Repeated pairs, sides swapped: the same clip again in {percent(results.repeated)}, of "
            f"{results.repeated.n} answers that chose a clip both times."
        )
    few = min((min(cell.people, cell.prompts) for cell in results.cells), default=0)
    if few < FEWEST_PROMPTS:
        said.append(f"Where fewer than {FEWEST_PROMPTS} people or prompts have preferences, nobody is called ahead.")
    elif few < FEW_PROMPTS:
        said.append(f"Intervals from fewer than {FEW_PROMPTS} people or prompts are narrower than they should be.")
    return said
