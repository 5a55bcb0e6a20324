"""Turns among people who share a machine."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bytheway.errors import ByTheWayError
from bytheway.studio.fair import FairQueue


@dataclass(frozen=True)
class Waits:
    owner: str
    number: int = 0


def queue_of(*tickets: Waits, longest: int = 20) -> FairQueue[Waits]:
    queue = FairQueue[Waits](longest)
    for ticket in tickets:
        queue.put(ticket)
    return queue


def taken(queue: FairQueue[Waits]) -> list[Waits]:
    found = []
    while (ticket := queue.take()) is not None:
        found.append(ticket)
    return found


def test_who_asks_for_much_lets_others_in_between() -> None:
    many = [Waits("ann", number) for number in range(4)]
    queue = queue_of(*many, Waits("bob"), Waits("eve"))
    order = list(queue.order())
    assert [one.owner for one in order] == ["ann", "bob", "eve", "ann", "ann", "ann"]
    assert [one.number for one in order if one.owner == "ann"] == [0, 1, 2, 3]
    assert taken(queue) == order


def test_a_newcomer_comes_before_who_had_a_turn() -> None:
    queue = queue_of(Waits("ann", 0), Waits("ann", 1))
    assert queue.take() == Waits("ann", 0)
    queue.put(Waits("bob"))
    assert taken(queue) == [Waits("bob"), Waits("ann", 1)]


def test_no_more_wait_than_may() -> None:
    queue = queue_of(Waits("ann"), longest=1)
    with pytest.raises(ByTheWayError, match="1 wait already"):
        queue.put(Waits("bob"))
    assert queue.take() == Waits("ann")
    queue.put(Waits("bob"))


def test_who_leaves_is_passed_over() -> None:
    queue = queue_of(Waits("ann"), Waits("bob"))
    assert queue.remove(Waits("ann"))
    assert not queue.remove(Waits("ann"))
    assert taken(queue) == [Waits("bob")]
    assert queue.take() is None
