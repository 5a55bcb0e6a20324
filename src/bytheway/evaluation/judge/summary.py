"""What the judge said: a verdict where it says the same in both orders, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.comparison import Comparison, compare
from bytheway.evaluation.judge.asking import Answer, ClipShape
from bytheway.evaluation.judge.run import Asked, Call, Pair, answer_to, left_to_ask
from bytheway.evaluation.judge.store import Store
from bytheway.evaluation.measures.measure import Measurement
from bytheway.evaluation.questions import Question
from bytheway.evaluation.scores import ClipScores
from bytheway.evaluation.statistics import NOTHING, RESAMPLES, Estimate, Values, mean, over_prompts, share
from bytheway.generation.existing import settings_at

Verdict: TypeAlias = Literal["first", "second", "tie"]
"""Of a pair: the baseline's clip, the other arm's, or neither."""
Votes: TypeAlias = Mapping[tuple[str, str, int, str], Verdict]
"""What most people said, by the question's name, the prompt, the index of its seed and the other arm's name."""

_SCORE: Final[Mapping[Verdict, float]] = {"first": 0.0, "tie": 0.5, "second": 1.0}


@dataclass(frozen=True)
class Said:
    """One call's outcome. `answered`: whether it is over. `answer`: None where no reply could be read."""

    answered: bool
    answer: Answer | None
    reason: str


@dataclass(frozen=True)
class Judgement:
    """What was said about one pair on one question.

    Attributes:
        pair, question: what was asked.
        said: with the baseline's clip as A, and with it as B.
    """

    pair: Pair
    question: Question
    said: tuple[Said, Said]

    @property
    def answered(self) -> bool:
        """Whether both orders were asked to the end."""
        return all(one.answered for one in self.said)

    @property
    def choices(self) -> tuple[Verdict, Verdict] | None:
        """What both answers stand for; None where one of them could not be read or is missing."""
        first, second = (one.answer for one in self.said)
        if first is None or second is None:
            return None
        names: tuple[Mapping[Answer, Verdict], ...] = (
            {"A": "first", "B": "second", "tie": "tie"},
            {"A": "second", "B": "first", "tie": "tie"},
        )
        return names[0][first], names[1][second]

    @property
    def verdict(self) -> Verdict | None:
        """What survives the swap, else a tie; None where there are no two answers."""
        if self.choices is None:
            return None
        first, second = self.choices
        return first if first == second else "tie"

    @property
    def preferred(self) -> str | None:
        """The verdict by the name of the arm; "tie" for a tie."""
        names = dict(zip(("first", "second"), self.pair.arms, strict=True))
        return None if self.verdict is None else names.get(self.verdict, "tie")


@dataclass(frozen=True)
class Agreement:
    """How often a judge says what most people say, with intervals by a bootstrap over prompts.

    Attributes:
        with_ties: share of the pairs on which both say the same, a tie included.
        without_ties: the same share among the pairs of which neither calls a tie.
        kappa: Cohen's, over all three verdicts; 0 where both always say one and the same.
        pairs: on which there are both.
    """

    with_ties: Estimate
    without_ties: Estimate
    kappa: Estimate
    pairs: int


@dataclass(frozen=True)
class Figures:
    """How a judge did on one question about one arm against the baseline.

    Attributes:
        no_verdict: pairs with a reply that could not be read.
        unanswered: pairs that were not asked to the end.
        decided: share of the arm among verdicts that are no ties; its interval, as those of the next two, is over
            prompts.
        first_place: share of answers for the clip that came first, among those that are no ties: position bias.
        changed: share of the pairs of which the two orders gave different answers, which are ties for that.
        agreement: with people; None where nobody voted.
    """

    no_verdict: int
    unanswered: int
    decided: Estimate
    first_place: Estimate
    changed: Estimate
    agreement: Agreement | None


def judgements(asked: Asked, store: Store, max_tokens: int) -> list[Judgement]:
    """What stands in the store about every pair and question that was asked for."""
    both: dict[tuple[Pair, str], list[Call]] = {}
    for call in asked.calls:
        both.setdefault((call.pair, call.question.name), []).append(call)
    return [
        Judgement(
            straight.pair, straight.question, (_said(straight, store, max_tokens), _said(swapped, store, max_tokens))
        )
        for straight, swapped in both.values()
    ]


def _said(call: Call, store: Store, max_tokens: int) -> Said:
    line = answer_to(call, store)
    if line is not None:
        return Said(True, line["answer"], line["reason"])
    return Said(left_to_ask(call, store, max_tokens) is None, None, "")


def figures(found: Sequence[Judgement], votes: Votes | None = None) -> Figures:
    """The figures of judgements on one question about one arm.

    Args:
        found: each of another pair.
        votes: of people, where there are some.
    """
    whole = [one for one in found if one.choices is not None]
    placed = [(said.answer == "A", one.pair.prompt) for one in whole for said in one.said if said.answer != "tie"]
    decided = [one for one in whole if one.verdict != "tie"]
    return Figures(
        no_verdict=sum(one.answered and one.choices is None for one in found),
        unanswered=sum(not one.answered for one in found),
        decided=_share_over_prompts([one.verdict == "second" for one in decided], [one.pair.prompt for one in decided]),
        first_place=_share_over_prompts([is_a for is_a, _ in placed], [prompt for _, prompt in placed]),
        changed=_share_over_prompts(
            [one.choices[0] != one.choices[1] for one in whole if one.choices], [one.pair.prompt for one in whole]
        ),
        agreement=_agreement(whole, votes) if votes else None,
    )


def _share_over_prompts(values: Sequence[bool], prompts: Sequence[str]) -> Estimate:
    """Wilson's interval where each prompt has one value, else a bootstrap over prompts."""
    if len(set(prompts)) == len(prompts):
        return share(sum(values), len(values))
    return mean(np.array(values), prompts)


def _agreement(found: Sequence[Judgement], votes: Votes) -> Agreement | None:
    both: dict[str, list[tuple[Verdict, Verdict]]] = {}
    for one in found:
        voted = votes.get((one.question.name, one.pair.prompt, one.pair.seed_index, one.pair.arms[1]))
        if voted is not None and one.verdict is not None:
            both.setdefault(one.pair.prompt, []).append((one.verdict, voted))
    if not both:
        return None
    tables = np.array([[[its.count((a, b)) for b in _SCORE] for a in _SCORE] for its in both.values()])
    sides = [list(_SCORE).index(side) for side in ("first", "second")]
    decided_by_both = tables[:, sides][:, :, sides]
    return Agreement(
        _over_prompts(_same, tables),
        _over_prompts(_same, decided_by_both[decided_by_both.any((1, 2))]),
        _over_prompts(_kappa, tables),
        int(tables.sum()),
    )


def _over_prompts(statistic: Callable[[Values], float], tables: Values) -> Estimate:
    """A statistic of the sum of tables (prompts, judge's verdict, people's), with its interval over prompts."""
    if len(tables) < 2:
        return Estimate(statistic(tables.sum(0)), np.nan, np.nan, 1) if len(tables) else NOTHING
    return over_prompts(lambda chosen: statistic(tables[chosen].sum(0)), len(tables), RESAMPLES, corrected=False)


def _same(table: Values) -> float:
    return float(np.trace(table) / table.sum())


def _kappa(table: Values) -> float:
    """Cohen's: how much more often both say the same than by chance, as a share of the most that is possible."""
    chance = float(table.sum(0) @ table.sum(1) / table.sum() ** 2)
    return (_same(table) - chance) / (1 - chance) if chance < 1 else 0.0


def comparisons(
    found: Sequence[Judgement], shapes: Mapping[Path, ClipShape], left_out: Sequence[str]
) -> list[Comparison]:
    """The verdicts as measures of clips: 1 for the better one of a pair and 0 for the other, 0.5 for both of a tie.

    So the mean of an arm is its share of the pairs, ties counted half, and pairs without a verdict count as not
    measured.

    Args:
        found: about any number of arms against one baseline.
        shapes: of the clips.
        left_out: pairs that were not judged, in sentences.
    """
    by_arm: dict[str, dict[Pair, list[Judgement]]] = {}
    for one in found:
        by_arm.setdefault(one.pair.arms[1], {}).setdefault(one.pair, []).append(one)
    made = []
    for pairs in by_arm.values():
        scores = [
            (_scores(pair, 0, its, shapes[pair.paths[0]]), _scores(pair, 1, its, shapes[pair.paths[1]]))
            for pair, its in pairs.items()
        ]
        made.append(compare(next(iter(pairs)).arms, scores, left_out))
    return made


def _scores(pair: Pair, side: int, found: Sequence[Judgement], shape: ClipShape) -> ClipScores:
    clip = ClipFile(pair.paths[side], {**settings_at(pair.paths[side]), "prompt": pair.prompt})
    measured = {}
    for one in found:
        if one.verdict is not None:
            score = _SCORE[one.verdict] if side else 1 - _SCORE[one.verdict]
            name = one.question.name
            measured[name] = Measurement(name, score, (), (), "frame", "", "higher", vbench=False)
    return ClipScores(clip, shape.num_frames, shape.height, shape.width, shape.fps, measured)
