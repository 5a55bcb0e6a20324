"""What one person is shown: which pairs, in which order, on which sides. All drawn from the seed of the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bytheway.evaluation.votes.study import Study


@dataclass(frozen=True)
class Item:
    """A pair as one person is shown it.

    Attributes:
        pair: its place in `Study.all_pairs`.
        swapped: whether its second clip is on the left.
        repeat: whether the person has seen the pair before, with the other clip on the left.
    """

    pair: int
    swapped: bool
    repeat: bool = False


def items_of(study: Study, person: int) -> list[Item]:
    """What a person is shown, in order.

    Pairs are dealt like cards: person after person gets the next ones of one shuffled pack, so that all pairs are shown
    equally often, to one time. Of the pairs of two arms that a person sees, each arm is on the left in half, to one
    pair.

    Args:
        study: what is asked.
        person: the number of the person, from 1 on.
    """
    rng = np.random.default_rng([study.seed, person])
    pack = np.random.default_rng(study.seed).permutation(len(study.pairs))
    dealt = np.take(pack, np.arange(study.pairs_each) + (person - 1) * study.pairs_each, mode="wrap")
    items = _with_sides([int(pair) for pair in rng.permutation(dealt)], study, rng)
    items = _with_repeats(items, study.repeats_each, rng)
    first = len(study.pairs)
    checks = [int(check) for check in first + rng.permutation(len(study.checks))]
    return _spread(_with_sides(checks, study, rng), items, rng)


def _with_sides(pairs: Sequence[int], study: Study, rng: np.random.Generator) -> list[Item]:
    """Each pair with its sides drawn so that each kind of pair has either clip on the left equally often."""
    everything = study.all_pairs
    alike: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(pairs):
        one = everything[pair]
        alike.setdefault(("", "") if one.altered else one.arms, []).append(place)
    swapped = np.zeros(len(pairs), dtype=bool)
    for places in alike.values():
        swapped[places] = rng.permutation((np.arange(len(places)) + rng.integers(2)) % 2 == 1)
    return [Item(pair, bool(side)) for pair, side in zip(pairs, swapped, strict=True)]


def _with_repeats(items: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """Pairs of the first third again in the last, with sides swapped."""
    n = len(items)
    again = rng.choice(max(count, n // 3), count, replace=False)
    places = np.sort(rng.integers(max(2 * n // 3, min(n, 2)), n + 1, count))[::-1]
    there = list(items)
    for which, place in zip(again, places, strict=True):
        there.insert(int(place), Item(items[which].pair, not items[which].swapped, repeat=True))
    return there


def _spread(checks: Sequence[Item], items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """The checks among the items: one in each of equal stretches, none at the very beginning."""
    there, n = list(items), len(items)
    for k in range(len(checks) - 1, -1, -1):
        low, high = k * n // len(checks), (k + 1) * n // len(checks)
        there.insert(int(rng.integers(max(low, 1), max(high, 1) + 1)), checks[k])
    return there
