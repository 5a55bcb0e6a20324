"""How people did on checks and repeats, and who is left out of the results, by the rules fixed with the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bytheway.evaluation.votes.store import Ballot
from bytheway.evaluation.votes.study import CHECKED, Study

CHOICES: Final = ("first", "second")


@dataclass(frozen=True)
class Conduct:
    """How one person voted.

    Attributes:
        checks: how many attention checks were answered.
        right: how many of them with the clip that nothing was done to.
        repeats: how many answers on repeated pairs chose a clip both times.
        contradicted: how many of these chose the other one.
        on_left: how many votes chose the left clip.
        on_right: how many chose the right one.
    """

    checks: int
    right: int
    repeats: int
    contradicted: int
    on_left: int
    on_right: int


def conduct_of(ballots: Sequence[Ballot], study: Study) -> Conduct:
    """How a person voted, by all votes of that person."""
    checks = [one for one in ballots if study.all_pairs[one.item.pair].altered and one.question == CHECKED]
    before = {(one.item.pair, one.question): one.choice for one in ballots if not one.item.repeat}
    twice = [
        (before[key], one.choice)
        for one in ballots
        if one.item.repeat and (key := (one.item.pair, one.question)) in before
    ]
    decided = [(first, again) for first, again in twice if first in CHOICES and again in CHOICES]
    answers = [one.answer for one in ballots]
    return Conduct(
        checks=len(checks),
        right=sum(one.choice == "first" for one in checks),
        repeats=len(decided),
        contradicted=sum(first != again for first, again in decided),
        on_left=answers.count("left"),
        on_right=answers.count("right"),
    )


def reason_against(conduct: Conduct, study: Study) -> str | None:
    """The name of the first rule by which a person is left out, as in `Rules.sentences`; None: by none."""
    rules = study.rules
    if study.checks and (not conduct.checks or conduct.right < rules.checks_right * conduct.checks):
        return "checks"
    decided = conduct.on_left + conduct.on_right
    if decided >= rules.one_side and decided in (conduct.on_left, conduct.on_right):
        return "one side"
    if conduct.repeats >= rules.repeats and conduct.contradicted > rules.contradicted * conduct.repeats:
        return "contradicts"
    return None
