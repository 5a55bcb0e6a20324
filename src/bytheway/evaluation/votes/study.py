"""What a user study asks: its pairs, its attention checks, and the rules by which people are left out.

All of it is fixed when the study is created, before the first vote, and kept with the votes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from bytheway.errors import ByTheWayError
from bytheway.evaluation.questions import QUESTIONS, Question

FORMAT: Final = 1
CHECKED: Final = "motion_consistency"
"""The question to which an attention check has a known answer: frozen or shuffled, a clip moves worse than it did."""

Altered: TypeAlias = Literal["frozen", "shuffled"]


@dataclass(frozen=True)
class Pair:
    """Two clips of one prompt and one seed, of equal length, rate and size.

    Attributes:
        prompt: what both were made from.
        seed: the number of the seed among those of the prompt, from 0 on.
        arms: of the first and the second clip.
        clips: the random ids under which the page has them.
        frames: how many each has.
        fps: how many of them are shown in a second.
        size: width and height of a frame in pixels.
        altered: of an attention check, what was done to the first clip to make the second.
    """

    prompt: str
    seed: int
    arms: tuple[str, str]
    clips: tuple[str, str]
    frames: int
    fps: float
    size: tuple[int, int]
    altered: Altered | None = None

    @property
    def seconds(self) -> float:
        """How long one loop is."""
        return self.frames / self.fps


@dataclass(frozen=True)
class Rules:
    """When the votes of a person are left out.

    Attributes:
        checks_right: the least share of attention checks that must be answered right; who has answered none is left
            out as well.
        one_side: the number of decided votes from which on a person must have chosen either side at least once.
        repeats: the number of decided answers on repeated pairs from which on they are looked at.
        contradicted: the largest share of these in which a person may choose the other clip than before.
    """

    checks_right: float = 0.5
    one_side: int = 10
    repeats: int = 3
    contradicted: float = 2 / 3

    def sentences(self, checks: bool) -> tuple[str, ...]:
        """The rules in words, by their names in tables; `checks`: whether the study has attention checks."""
        rules = (
            f"one side: always the same side in {self.one_side} or more decided votes",
            f"contradicts: chose the other clip in more than {self.contradicted:.0%} of {self.repeats} or more decided "
            "answers on repeated pairs",
        )
        first = f"checks: right in fewer than {self.checks_right:.0%} of the attention checks, or answered none"
        return (first, *rules) if checks else rules


@dataclass(frozen=True)
class Study:
    """A user study.

    Attributes:
        seed: everything that is drawn comes from it.
        questions: the names of those that are asked of every pair.
        pairs: all that are voted on.
        checks: the attention checks; everybody gets all of them.
        pairs_each: how many pairs one person is shown, checks and repeats not counted.
        repeats_each: how many of these come again, with sides swapped.
        checks_share: the checks as a share of the pairs, as it was asked for.
        rules: by which people are left out.
    """

    seed: int
    questions: tuple[str, ...]
    pairs: tuple[Pair, ...]
    checks: tuple[Pair, ...]
    pairs_each: int
    repeats_each: int
    checks_share: float
    rules: Rules = Rules()

    @property
    def all_pairs(self) -> tuple[Pair, ...]:
        """Pairs and checks; an item names one by its place here."""
        return (*self.pairs, *self.checks)

    @property
    def items_each(self) -> int:
        """How many pairs one person sees in all."""
        return self.pairs_each + self.repeats_each + len(self.checks)

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions, in the order in which they are asked."""
        return tuple(question for question in QUESTIONS if question.name in self.questions)

    def to_json(self) -> str:
        """Everything, as `from_json` reads it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Study:
        """The study that `to_json` wrote.

        Raises:
            ByTheWayError: it was written by another version.
        """
        facts = json.loads(text)
        if facts.pop("format") != FORMAT:
            raise ByTheWayError("The study was begun by another version of bytheway; go on with that one.")
        facts["questions"] = tuple(facts["questions"])
        facts["pairs"], facts["checks"] = (tuple(map(_pair, facts[name])) for name in ("pairs", "checks"))
        return cls(**facts | {"rules": Rules(**facts["rules"])})


def _pair(facts: dict[str, Any]) -> Pair:
    return Pair(**facts | {name: tuple(facts[name]) for name in ("arms", "clips", "size")})
