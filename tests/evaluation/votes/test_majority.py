"""What most people said of each pair."""

from __future__ import annotations

from collections.abc import Callable

from bytheway.evaluation.votes.majority import majorities
from bytheway.evaluation.votes.order import Item
from bytheway.evaluation.votes.store import Store
from bytheway.evaluation.votes.study import Pair, Study


def test_most_votes_decide_and_the_rest_are_ties(store: Store, study: Study, vote_through: Callable[..., int]) -> None:
    """Three people: of each pair what two of them say, both bad as a tie, and a tie where all differ."""
    first, second, third, fourth, *_ = (pair.prompt for pair in study.pairs)
    answers = {
        first: ("first", "first", "second"),
        second: ("second", "tie", "second"),
        third: ("first", "tie", "bad"),
        fourth: ("first", "second", "tie"),
    }
    for person in range(3):

        def answer(pair: Pair, item: Item, question: str, person: int = person) -> str:
            if pair.altered:
                return "first"
            return "tie" if question == "motion_consistency" else answers.get(pair.prompt, ("second",) * 3)[person]

        vote_through(answer)
    found = majorities(store, study, "vanilla")
    assert len(found) == 6 * 3
    quality = {prompt: said for (question, prompt, _, _), said in found.items() if question == "video_quality"}
    expected = {first: "first", second: "second", third: "tie", fourth: "tie"}
    assert quality == {pair.prompt: expected.get(pair.prompt, "second") for pair in study.pairs}
    assert {said for (question, *_), said in found.items() if question == "motion_consistency"} == {"tie"}
    assert {(seed, arm) for _, _, seed, arm in found} == {(0, "enhanced")}
    assert majorities(store, study, "enhanced") == {}, "no pair has it as its first clip"


def test_who_is_left_out_does_not_count(store: Store, study: Study, vote_through: Callable[..., int]) -> None:
    for _ in range(2):
        vote_through(lambda pair, item, question: "second")  # also of the attention check
    assert majorities(store, study, "vanilla") == {}
    vote_through(lambda pair, item, question: "first")
    assert set(majorities(store, study, "vanilla").values()) == {"first"}
