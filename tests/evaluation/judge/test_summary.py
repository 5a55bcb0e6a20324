"""The figures of a judge, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bytheway.evaluation.judge.run import Pair
from bytheway.evaluation.judge.summary import Judgement, Said, Verdict, Votes, figures
from bytheway.evaluation.questions import QUESTIONS
from bytheway.evaluation.statistics import share

QUESTION = QUESTIONS[0]


def judged(*answers: str, prompts: int | None = None) -> list[Judgement]:
    """Judgements out of pairs of letters: A, B, t for a tie, x for what cannot be read, - for what was not answered."""
    names = {"A": "A", "B": "B", "t": "tie", "x": None, "-": None}
    found = []
    for index, both in enumerate(answers):
        pair = Pair(
            f"prompt {index % (prompts or len(answers))}",
            index // (prompts or len(answers)),
            ("a", "b"),
            (Path("a"), Path("b")),
        )
        straight, swapped = (Said(letter != "-", names[letter], "") for letter in both)  # type: ignore[arg-type]
        found.append(Judgement(pair, QUESTION, (straight, swapped)))
    return found


@pytest.mark.parametrize(
    ("both", "verdict"),
    [
        ("AB", "first"),
        ("BA", "second"),
        ("AA", "tie"),
        ("BB", "tie"),
        ("tt", "tie"),
        ("At", "tie"),
        ("tA", "tie"),
        ("xA", None),
        ("Bx", None),
        ("xx", None),
        ("-A", None),
    ],
)
def test_a_verdict_is_what_survives_the_swap(both: str, verdict: str | None) -> None:
    """The first letter is the answer where the baseline is A, the second where it is B."""
    (found,) = judged(both)
    assert found.verdict == verdict


def test_figures_by_hand() -> None:
    #           b     b     b     a     tie   tie   tie   none  -
    found = judged("BA", "BA", "BA", "AB", "AA", "tt", "tB", "Ax", "A-")
    told = figures(found)
    assert (told.no_verdict, told.unanswered, told.agreement) == (1, 1, None)
    assert told.decided == share(3, 4)
    # Of the seven pairs with two answers: A six times, B five times, three ties.
    assert (told.first_place.value, told.first_place.n) == (pytest.approx(6 / 11), 6), "of six prompts"
    assert told.changed == share(2, 7)


def test_clips_of_one_prompt_are_not_independent() -> None:
    """Two prompts with three pairs each, which agree with one another: as uncertain as two are."""
    told = figures(judged("BA", "AB", "BA", "AB", "BA", "AB", prompts=2)).decided
    assert (told.value, told.low, told.high, told.n) == (0.5, 0, 1, 2)
    assert share(3, 6).low > 0.1


def test_nothing_is_no_number() -> None:
    told = figures(judged("xx", "-A"))
    assert [np.isnan(one.value) for one in (told.decided, told.first_place, told.changed)] == [True] * 3


def votes(found: list[Judgement], *said: Verdict | None) -> Votes:
    return {
        (QUESTION.name, one.pair.prompt, one.pair.seed_index, "b"): verdict
        for one, verdict in zip(found, said, strict=True)
        if verdict is not None
    }


def test_agreement_with_people_by_hand() -> None:
    found = judged("BA", "BA", "BA", "AB", "AB", "AA", "tt", "BA", "xx", "AB")
    #  judge        b     b     b     a     a     tie   tie   b     –     a
    told = figures(
        found, votes(found, "second", "second", "first", "first", "second", "tie", "first", "tie", "second", None)
    ).agreement
    assert told is not None
    assert told.pairs == 8
    assert told.with_ties.value == pytest.approx(4 / 8)
    assert told.without_ties.value == pytest.approx(3 / 5)
    # The judge says b, a, tie 4, 2, 2 times of eight, people 3, 3, 2 times.
    chance = (4 * 3 + 2 * 3 + 2 * 2) / 64
    assert told.kappa.value == pytest.approx((0.5 - chance) / (1 - chance))
    for one in (told.with_ties, told.without_ties, told.kappa):
        assert one.low < one.value < one.high
    assert (told.with_ties.n, told.without_ties.n) == (8, 5)


def test_agreement_of_those_who_always_say_the_same() -> None:
    found = judged(*["tt"] * 6)
    told = figures(found, votes(found, *["tie"] * 6)).agreement  # type: ignore[arg-type]
    assert told is not None
    assert (told.with_ties.value, told.kappa.value) == (1, 0)
    assert np.isnan(told.without_ties.value)
    other = {("motion_consistency", one.pair.prompt, 0, "b"): "first" for one in found}
    assert figures(found, other).agreement is None, "votes on another question"  # type: ignore[arg-type]
    (single,) = judged("BA")
    alone = figures([single], votes([single], "second")).agreement
    assert alone is not None
    assert (alone.with_ties.value, np.isnan(alone.with_ties.low)) == (1, True)


def test_intervals_of_bias_are_over_prompts() -> None:
    """Ten pairs of two prompts that disagree wholly: of prompts nothing is known, of independent pairs it would be."""
    told = figures(judged(*["AA", "BA"] * 5, prompts=2))
    assert told.first_place.value == pytest.approx(15 / 20)
    assert (told.first_place.low, told.first_place.high) == (0.5, 1)
    assert told.changed.value == 0.5
    assert (told.changed.low, told.changed.high) == (0, 1)
    assert told.changed.n == 2
