"""What votes tell, against numbers worked out by hand, and who is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytheway.evaluation.statistics import sign_test_power
from bytheway.evaluation.votes.agreement import krippendorff_alpha
from bytheway.evaluation.votes.exclusions import Conduct, reason_against
from bytheway.evaluation.votes.order import Item, items_of
from bytheway.evaluation.votes.results import results_of
from bytheway.evaluation.votes.store import Ballot, Store
from bytheway.evaluation.votes.strengths import preferred_to_first
from bytheway.evaluation.votes.study import Pair, Study
from bytheway.evaluation.votes.words import conduct_sentences, heads, rows, verdicts

VoteThrough = Callable[..., int]


def careful(preferred: str) -> Callable[..., str]:
    """Prefers one arm throughout, and the untouched clip of a check."""

    def answer(pair: Pair, item: Item, question: str) -> str:
        return "first" if pair.altered else preferred

    return answer


def test_choices_are_counted_whatever_side_they_were_on(store: Store, study: Study, vote_through: VoteThrough) -> None:
    """Two people prefer the second arm on all six pairs, one the first; one finds ties, one both bad."""
    for preferred in ("second", "second", "first", "tie", "bad"):
        vote_through(careful(preferred))
    results = results_of(store, study)
    assert (results.people, results.voted, results.finished, results.withdrawn) == (5, 5, 5, 0)
    assert results.counted == 5 * 6 * 3, "neither checks nor repeats"
    assert [cell.question for cell in results.cells] == list(study.questions)
    for cell in results.cells:
        assert cell.arms == ("vanilla", "enhanced")
        assert (cell.first, cell.second, cell.ties, cell.bad) == (6, 12, 6, 6)
        assert (cell.people, cell.prompts) == (3, 6)
        assert cell.share.value == pytest.approx(12 / 18)
        # Wilson's, by its formula with z = 1.959964
        z, n, p = 1.959964, 18, 12 / 18
        middle, half = (
            (p + z**2 / (2 * n)) / (1 + z**2 / n),
            z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n * n)) / (1 + z**2 / n),
        )
        assert (cell.share.low, cell.share.high) == pytest.approx((middle - half, middle + half), abs=1e-6)
        # prompts all say the same, so only persons move the mean of a resample: k of 3 draws are the first's voter
        assert (cell.two_way.value, cell.two_way.low, cell.two_way.high) == pytest.approx((2 / 3, 0, 1))
        tail = sum(math.comb(18, k) for k in range(7)) / 2**18
        assert cell.p == pytest.approx(2 * tail)
        # of the 20 ordered pairs of people 2 agree on each of six pairs; of all 30 * 29 pairs of answers so many do
        observed, expected = 1 - 2 / 20, 1 - (6 * 5 * 3 + 12 * 11) / (30 * 29)
        assert cell.alpha == pytest.approx(1 - observed / expected)
        assert cell.ahead is None
        assert cell.more is not None
        assert cell.more > 0


def test_who_is_ahead_needs_people_and_prompts(store: Store, study: Study, vote_through: VoteThrough) -> None:
    for _ in range(5):
        vote_through(careful("second"))
    (cell, *_) = results_of(store, study).cells
    assert cell.p < 1e-6
    assert cell.more == 0
    assert cell.ahead is None, "five people"
    said = verdicts(results_of(store, study))
    assert said[0].startswith("video_quality: the sign test tells, but from 5 people and 6 prompts nothing is said")
    vote_through(careful("second"))
    assert {cell.ahead for cell in results_of(store, study).cells} == {"enhanced"}
    assert verdicts(results_of(store, study)) == []
    for _ in range(9):
        vote_through(careful("first"))
    (cell, *_) = results_of(store, study).cells
    assert (cell.first, cell.second, cell.ahead) == (54, 36, None)
    assert (
        "more votes would tell (with a power of 80 %), were 40% the true share" in verdicts(results_of(store, study))[0]
    )


def test_significant_votes_of_few_voices_are_not_ahead(store: Store, study: Study, vote_through: VoteThrough) -> None:
    """Of 13 people who each always prefer one arm, 9 are no majority beyond chance; their 78 votes seem to be one."""
    for preferred in ("second",) * 9 + ("first",) * 4:
        vote_through(careful(preferred))
    (cell, *_) = results_of(store, study).cells
    assert (cell.first, cell.second) == (24, 54)
    assert cell.p < 0.05
    assert cell.more == 0
    assert cell.two_way.low < 0.5
    assert cell.ahead is None
    assert "does not leave out 50 %" in verdicts(results_of(store, study))[0]


def test_nobody_has_voted(store: Store, study: Study) -> None:
    store.join(study)
    results = results_of(store, study)
    assert (results.people, results.voted, results.counted, results.left_out) == (1, 0, 0, {})
    for cell in results.cells:
        assert (cell.first, cell.second, cell.ties, cell.bad, cell.ahead) == (0, 0, 0, 0, None)
    assert verdicts(results)[0] == "video_quality: nobody has preferred either yet."
    assert rows(results, ("vanilla", "enhanced"))[0] == ("video_quality", "0", "0", "0", "0", "–", "–", "1", "–", "–")
    assert len(heads(("vanilla", "enhanced"))) == 10
    assert conduct_sentences(results, study)[-1].endswith(
        "fewer than 6 people or prompts have preferences, nobody is called ahead."
    )
    json.dumps(results.to_dict(), allow_nan=False)


def test_people_are_left_out_by_the_rules(store: Store, study: Study, vote_through: VoteThrough) -> None:
    good = vote_through(careful("second"))
    wrong = vote_through(lambda pair, item, question: "second")
    unsure = vote_through(lambda pair, item, question: "tie")
    brief = vote_through(careful("first"), most=1)
    fickle = vote_through(
        lambda pair, item, question: "first" if pair.altered else "second" if item.repeat else "first"
    )
    always_left = [vote_through(lambda pair, item, question: "left") for _ in range(6)]
    # Always left is right about the check of who has its untouched clip there; then another rule catches it.
    by_chance = {
        person: any(item.pair == len(study.pairs) and not item.swapped for item in items_of(study, person))
        for person in always_left
    }
    assert len(set(by_chance.values())) == 2
    expected = {wrong: "checks", unsure: "checks", brief: "checks", fickle: "contradicts"}
    expected |= {person: "one side" if right else "checks" for person, right in by_chance.items()}
    results = results_of(store, study)
    assert results.left_out == expected
    assert good not in results.left_out
    assert results.counted == 6 * 3, "only the careful one's"
    assert {(cell.first, cell.second) for cell in results.cells} == {(0, 6)}
    one_side = sum(by_chance.values())
    said = conduct_sentences(results, study)
    assert said[0] == "11 people take part; 11 have voted, 10 of them to the end; 0 withdrew. 18 votes are counted."
    assert said[1].startswith(f"Left out: {9 - one_side}, by the rule fixed beforehand: right in fewer than 50% of")
    assert said[2].startswith(f"Left out: {one_side}, by the rule fixed beforehand: always the same side in 10 or more")
    assert said[3].startswith("Left out: 1, by the rule fixed beforehand: chose the other clip in more than 67%")
    assert results.checks.n == 10
    assert results.checks.value == pytest.approx((2 + one_side) / 10)


def test_who_is_undecided_on_a_repeat_contradicts_nothing(
    store: Store, study: Study, vote_through: VoteThrough
) -> None:
    vote_through(lambda pair, item, question: "first" if pair.altered else "tie" if item.repeat else "second")
    results = results_of(store, study)
    assert results.left_out == {}
    assert results.repeated.n == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"checks": 4, "right": 2}, None),
        ({"checks": 4, "right": 1}, "checks"),
        ({"checks": 0, "right": 0}, "checks"),
        ({"on_left": 9, "on_right": 0}, None),
        ({"on_left": 10, "on_right": 0}, "one side"),
        ({"on_left": 0, "on_right": 10}, "one side"),
        ({"on_left": 10, "on_right": 1}, None),
        ({"on_left": 0, "on_right": 0}, None),
        ({"repeats": 2, "contradicted": 2}, None),
        ({"repeats": 3, "contradicted": 2}, None),
        ({"repeats": 3, "contradicted": 3}, "contradicts"),
    ],
)
def test_each_rule_at_its_edge(study: Study, changes: dict[str, int], reason: str | None) -> None:
    conduct = replace(Conduct(checks=2, right=2, repeats=3, contradicted=0, on_left=6, on_right=6), **changes)
    assert reason_against(conduct, study) == reason
    without = replace(study, checks=())
    assert reason_against(conduct, without) == (None if reason == "checks" else reason)
    assert len(study.rules.sentences(True)) == 3
    assert len(study.rules.sentences(False)) == 2


def test_krippendorffs_example() -> None:
    """Three coders, fifteen units, four categories: alpha 0.691 (Krippendorff, "Computing Krippendorff's Alpha")."""
    coders = ("*****3412113 3*3", "1*213343*******", "**21344*2113 3*4")
    table = [coder.replace(" ", "") for coder in coders]
    units = [[coder[k] for coder in table if coder[k] != "*"] for k in range(15)]
    assert krippendorff_alpha(units) == pytest.approx(0.691, abs=5e-4)
    assert krippendorff_alpha([["a", "a"], ["b", "b"], ["b"]]) == 1
    assert math.isnan(krippendorff_alpha([["a", "a"], ["a", "a"]]))
    assert math.isnan(krippendorff_alpha([]))


def ballots_of(counts: dict[tuple[int, int], tuple[int, int]], study: Study, people: int) -> list[Ballot]:
    """Votes on pairs of arms: how often the first and the second were preferred, dealt to people by chance."""
    arms = list(dict.fromkeys(arm for pair in study.pairs for arm in pair.arms))
    ballots: list[Ballot] = []
    rng = np.random.default_rng(0)
    for (one, other), (first, second) in counts.items():
        pair = [pair.arms for pair in study.pairs].index((arms[one], arms[other]))
        for answer, count in (("left", first), ("right", second)):
            ballots += [
                Ballot(int(rng.integers(people)), Item(pair, False), 0, "video_quality", answer) for k in range(count)
            ]
    return ballots


def three_arms() -> Study:
    every_two: Any = (("a", "b"), ("a", "c"), ("b", "c"))
    pairs = tuple(Pair("p", 0, arms, ("x", "y"), 8, 8.0, (64, 64)) for arms in every_two)
    return Study(0, ("video_quality",), pairs, (), 3, 0, 0.0)


def test_strengths_of_three_arms() -> None:
    """Shares that strengths of 1, 2 and 3 make exactly: b over a in 2 of 3, c over a in 3 of 4, c over b in 3 of 5."""
    study = three_arms()
    ballots = ballots_of({(0, 1): (10, 20), (0, 2): (10, 30), (1, 2): (20, 30)}, study, 10)
    found = preferred_to_first(ballots, study, "video_quality")
    assert list(found) == ["b", "c"]
    assert (found["b"].value, found["c"].value) == pytest.approx((2 / 3, 3 / 4), abs=1e-6)
    assert found["b"].low < 2 / 3 < found["b"].high
    assert found["b"].n == 120
    assert math.isnan(preferred_to_first(ballots, study, "motion_consistency")["b"].value)
    always = preferred_to_first(ballots_of({(0, 1): (0, 9), (0, 2): (3, 3)}, study, 3), study, "video_quality")
    assert np.isnan([one.value for one in always.values()]).all(), "b was never second"


def test_the_table_of_power_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    table = page.partition("| votes | 60 % | 65 % | 70 % |\n|---|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[float(cell) for cell in line.strip("| ").split("|")] for line in table.splitlines()]
    assert [row[0] for row in rows] == [30, 100, 200, 400]
    for votes, *powers in rows:
        assert powers == [round(sign_test_power(int(votes), true_share), 2) for true_share in (0.6, 0.65, 0.7)]
