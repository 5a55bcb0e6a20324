"""What the votes of a study tell: shares with their uncertainty, agreement, and who was left out and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from bytheway.evaluation.scores import json_ready
from bytheway.evaluation.statistics import (
    FEWEST_PROMPTS,
    Estimate,
    Outcomes,
    more_votes,
    over_persons_and_prompts,
    share,
)
from bytheway.evaluation.votes.agreement import krippendorff_alpha
from bytheway.evaluation.votes.exclusions import CHOICES, Conduct, conduct_of, reason_against
from bytheway.evaluation.votes.store import Ballot, Store
from bytheway.evaluation.votes.strengths import preferred_to_first
from bytheway.evaluation.votes.study import Study


@dataclass(frozen=True)
class Cell:
    """What was answered to one question about the pairs of two arms.

    Attributes:
        arms: the first and the second.
        question: its name.
        first: how many votes preferred the first arm.
        second: how many preferred the second.
        ties: how many found both equally good.
        bad: how many found both bad.
        people: how many people voted.
        prompts: on how many prompts.
        share: of the votes that preferred one arm, how many preferred the second; with Wilson's interval, which takes
            votes for independent.
        two_way: the same with an interval by a bootstrap over people and prompts, which does not.
        p: of the exact two-sided sign test on the preferences.
        more: how many more preferences would tell with a power of 80 %, were this share the true one; 0: they tell
            already; None: equal, or more than anybody would collect.
        alpha: Krippendorff's, of all four answers, over the pairs of two arms that several people saw.
    """

    arms: tuple[str, str]
    question: str
    first: int
    second: int
    ties: int
    bad: int
    people: int
    prompts: int
    share: Estimate
    two_way: Estimate
    p: float
    more: int | None
    alpha: float

    @property
    def ahead(self) -> str | None:
        """The arm that is preferred by more than chance: by the sign test, and by the interval over people and prompts.

        None from fewer than `FEWEST_PROMPTS` people or prompts: that interval is too narrow then.
        """
        if min(self.people, self.prompts) < FEWEST_PROMPTS or self.more != 0:
            return None
        return self.arms[0] if self.two_way.high < 0.5 else self.arms[1] if self.two_way.low > 0.5 else None


@dataclass(frozen=True)
class Results:
    """What a study has found so far.

    Attributes:
        cells: for every two arms and every question.
        people: how many take part.
        voted: how many of them have voted.
        finished: how many have answered everything.
        withdrawn: how many withdrew; their votes are gone.
        left_out: the number of each person who is left out, and by which rule.
        counted: how many votes are counted in the cells.
        checks: the share of attention checks that were answered right, by everybody.
        repeated: the share of repeated answers that chose the same clip again, by everybody.
        strengths: of more than two arms, by question and arm, how probable it is to be preferred to the first arm; see
            `preferred_to_first`.
    """

    cells: tuple[Cell, ...]
    people: int
    voted: int
    finished: int
    withdrawn: int
    left_out: dict[int, str]
    counted: int
    checks: Estimate
    repeated: Estimate
    strengths: dict[str, dict[str, Estimate]]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        cells = [asdict(cell) | {"ahead": cell.ahead} for cell in self.cells]
        return dict(json_ready(asdict(self) | {"cells": cells}))


def counted_ballots(ballots: Sequence[Ballot], study: Study) -> tuple[list[Ballot], dict[int, Conduct], dict[int, str]]:
    """The votes that count; how each person voted; and who is left out, by which rule."""
    conducts = {person: conduct_of(list(its), study) for person, its in groupby(ballots, lambda one: one.person)}
    against = {person: reason_against(conduct, study) for person, conduct in conducts.items()}
    left_out = {person: reason for person, reason in against.items() if reason is not None}
    counted = [
        one
        for one in ballots
        if one.person not in left_out and not one.item.repeat and study.all_pairs[one.item.pair].altered is None
    ]
    return counted, conducts, left_out


def results_of(store: Store, study: Study) -> Results:
    """Count the votes that are on disk."""
    ballots = store.ballots()
    counted, conducts, left_out = counted_ballots(ballots, study)
    everything = study.items_each * len(study.questions)
    checks, right, repeats, contradicted = (
        sum(getattr(conduct, name) for conduct in conducts.values())
        for name in ("checks", "right", "repeats", "contradicted")
    )
    return Results(
        cells=tuple(_cells(counted, study)),
        people=store.people(),
        voted=len(conducts),
        finished=sum(votes == everything for votes in Counter(one.person for one in ballots).values()),
        withdrawn=store.withdrawn(),
        left_out=left_out,
        counted=len(counted),
        checks=share(right, checks),
        repeated=share(repeats - contradicted, repeats),
        strengths={question: preferred_to_first(counted, study, question) for question in study.questions}
        if len({pair.arms for pair in study.pairs}) > 1
        else {},
    )


def _cells(ballots: Sequence[Ballot], study: Study) -> Iterable[Cell]:
    every_two = dict.fromkeys(pair.arms for pair in study.pairs)
    for arms in every_two:
        for question in study.questions:
            yield _cell(
                arms,
                question,
                [one for one in ballots if one.question == question and study.pairs[one.item.pair].arms == arms],
                study,
            )


def _cell(arms: tuple[str, str], question: str, ballots: Sequence[Ballot], study: Study) -> Cell:
    counts = Counter(one.choice for one in ballots)
    decided = [one for one in ballots if one.choice in CHOICES]
    prompts = [study.pairs[one.item.pair].prompt for one in decided]
    found = Outcomes(wins=counts["second"], ties=counts["tie"] + counts["bad"], losses=counts["first"])
    units: defaultdict[int, list[str]] = defaultdict(list)
    for one in ballots:
        units[one.item.pair].append(one.choice)
    return Cell(
        arms=arms,
        question=question,
        first=counts["first"],
        second=counts["second"],
        ties=counts["tie"],
        bad=counts["bad"],
        people=len({one.person for one in decided}),
        prompts=len(set(prompts)),
        share=share(counts["second"], len(decided)),
        two_way=over_persons_and_prompts(
            np.array([one.choice == "second" for one in decided], dtype=float), [one.person for one in decided], prompts
        ),
        p=found.p_value,
        more=more_votes(found),
        alpha=krippendorff_alpha(units.values()),
    )
