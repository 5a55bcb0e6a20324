"""A vote as a page sends it, held against what a vote can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.votes.study import Study

ANSWERS: Final = ("left", "right", "tie", "bad")
_LONGEST: Final = 24 * 60 * 60  # seconds
_MOST: Final = 1_000_000  # loops, replays or pixels


@dataclass(frozen=True)
class Vote:
    """One answer to one question about one pair.

    Attributes:
        item: its random id.
        question: the name of the question.
        answer: one of `ANSWERS`: a side, a tie, or both bad.
        watched: how long the clips have been playing, in seconds.
        loops: how often they were seen from beginning to end.
        replays: how often they were begun anew by hand.
        screen: width and height of the browser's window, in CSS pixels.
    """

    item: str
    question: str
    answer: str
    watched: float
    loops: int
    replays: int
    screen: tuple[int, int]


def vote_of(facts: Any, study: Study) -> Vote:
    """The vote in decoded JSON, by anybody.

    Raises:
        ByTheWayError: it is none, or the clips have not been seen from beginning to end.
    """
    if not isinstance(facts, dict) or set(facts) != {*Vote.__dataclass_fields__}:
        raise ByTheWayError(f"A vote is an object of {', '.join(Vote.__dataclass_fields__)}.")
    if not isinstance(facts["item"], str) or not facts["item"].isascii():
        raise ByTheWayError("The item of a vote is a text of ASCII letters.")
    if facts["question"] not in study.questions:
        raise ByTheWayError(f"The questions are {', '.join(study.questions)}.")
    if facts["answer"] not in ANSWERS:
        raise ByTheWayError(f"The answers are {', '.join(ANSWERS)}.")
    watched, screen = facts["watched"], facts["screen"]
    if type(watched) not in (int, float) or not 0 <= watched <= _LONGEST:
        raise ByTheWayError("The time watched is a number of seconds.")
    if not isinstance(screen, list) or len(screen) != 2:
        raise ByTheWayError("The screen is a list of width and height.")
    for number in (facts["loops"], facts["replays"], *screen):
        if type(number) is not int or not 0 <= number <= _MOST:
            raise ByTheWayError("Loops, replays and the screen are whole numbers.")
    if facts["loops"] < 1:
        raise ByTheWayError("Watch the clips from beginning to end before you vote.")
    return Vote(
        facts["item"],
        facts["question"],
        facts["answer"],
        float(watched),
        facts["loops"],
        facts["replays"],
        (screen[0], screen[1]),
    )
