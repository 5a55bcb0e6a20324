"""What people are shown: balanced sides, another order for everybody, all pairs equally often."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from bytheway.evaluation.votes.order import items_of
from bytheway.evaluation.votes.study import Pair, Study


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """Studies of two to four arms, with fewer pairs for each person than there are, or all."""
    names = ("vanilla", "enhanced", "freeinit", "beta=3")[: draw(st.integers(2, 4))]
    prompts = draw(st.integers(1, 9))
    pairs = tuple(
        Pair(f"p{p}", 0, arms, ("a", "b"), 8, 8.0, (64, 64)) for p in range(prompts) for arms in combinations(names, 2)
    )
    each = draw(st.integers(1, len(pairs)))
    extra = draw(st.integers(0, max(1, each // 4)))
    checks = tuple(
        Pair(f"p{k}", 0, ("vanilla", "frozen"), ("a", "b"), 8, 8.0, (64, 64), "frozen") for k in range(extra)
    )
    return Study(draw(st.integers(0, 2**32 - 1)), ("video_quality",), pairs, checks, each, extra, 0.1)


@given(studies(), st.integers(1, 10_000))
@settings(max_examples=200, deadline=None)
def test_what_one_person_is_shown(study: Study, person: int) -> None:
    items = items_of(study, person)
    assert items == items_of(study, person), "drawn from the seed alone"
    assert len(items) == study.items_each
    first = len(study.pairs)
    shown = [item for item in items if item.pair < first and not item.repeat]
    checks = [item for item in items if item.pair >= first]
    repeats = [item for item in items if item.repeat]
    assert len({item.pair for item in shown}) == len(shown) == study.pairs_each, "no pair twice"
    assert sorted(item.pair - first for item in checks) == list(range(len(study.checks))), "every check once"
    assert items[0] in shown, "nobody begins with a check or a repeat"
    for item in repeats:
        before = next(one for one in shown if one.pair == item.pair)
        assert item.swapped != before.swapped
        assert items.index(before) < items.index(item)
    for arms in {study.pairs[item.pair].arms for item in shown}:
        sides = Counter(item.swapped for item in shown if study.pairs[item.pair].arms == arms)
        assert abs(sides[True] - sides[False]) <= 1, "either arm is on the left equally often, to one pair"
    assert abs(sum(1 if item.swapped else -1 for item in checks)) <= 1


@given(studies(), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_all_pairs_are_shown_equally_often(study: Study, people: int) -> None:
    counts = Counter(
        item.pair
        for person in range(1, people + 1)
        for item in items_of(study, person)
        if item.pair < len(study.pairs) and not item.repeat
    )
    often = [counts[pair] for pair in range(len(study.pairs))]
    assert max(often) - min(often) <= 1


def test_orders_and_sides_differ_by_person_and_study() -> None:
    pairs = tuple(Pair(f"p{p}", 0, ("a", "b"), ("x", "y"), 8, 8.0, (64, 64)) for p in range(12))
    one, other = (Study(seed, ("video_quality",), pairs, (), 12, 0, 0.0) for seed in (0, 1))
    seen = [tuple(items_of(study, person)) for study in (one, other) for person in range(1, 21)]
    assert len({tuple(item.pair for item in items) for items in seen}) == 40
    assert len({tuple(item.swapped for item in items) for items in seen}) > 30
    for pair in range(12):  # over people, the sides of one pair are drawn as well
        swapped = sum(item.swapped for items in seen for item in items if item.pair == pair)
        assert 8 <= swapped <= 32
