"""What judges and people are asked of two clips of one prompt: the three questions of the paper's Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bytheway.errors import ByTheWayError


@dataclass(frozen=True)
class Question:
    """One question about two clips.

    Attributes:
        name: in files and tables.
        title: as the paper's Table 1 heads it.
        text: what is asked. The paper says no more than the titles; the words are ours.
    """

    name: str
    title: str
    text: str


QUESTIONS: Final = (
    Question(
        "video_quality",
        "Video quality",
        "Which of the two videos looks better: sharper, cleaner, with fewer blemishes and less flicker?",
    ),
    Question(
        "structure_rationality",
        "Structure rationality",
        "In which of the two videos do things keep a sensible shape: whole bodies, limbs where they belong, nothing "
        "that melts, splits or appears from nowhere?",
    ),
    Question(
        "motion_consistency",
        "Motion consistency",
        "Which of the two videos moves better: as the description says, smoothly, and as such things move?",
    ),
)


def questions_named(names: Sequence[str]) -> tuple[Question, ...]:
    """The questions of these names, each once.

    Raises:
        ByTheWayError: a name is no question's, or none is there.
    """
    known = {question.name: question for question in QUESTIONS}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"There is no question {unknown[0]!r}" if unknown else "No question is named"
        raise ByTheWayError(f"{what}; the questions are {', '.join(known)}.", setting="questions")
    return tuple(known[name] for name in dict.fromkeys(names))
