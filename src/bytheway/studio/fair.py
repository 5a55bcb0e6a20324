"""Who is next: people who share a machine have turns, however much each of them asks for.

The next turn is that of whoever waited longest for one; of one's own tickets the oldest comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from bytheway.errors import ByTheWayError


class Owned(Protocol):
    """What somebody waits for."""

    @property
    def owner(self) -> str: ...


T = TypeVar("T", bound=Owned)


class FairQueue(Generic[T]):
    """Tickets that wait. Nothing here is safe from other threads: whoever has it, locks."""

    def __init__(self, longest: int) -> None:
        """
        Args:
            longest: how many may wait at once.
        """
        self._longest = longest
        self._waiting: list[T] = []
        self._turns: dict[str, int] = {}  # the number of everybody's latest turn
        self._turn = 0

    def put(self, ticket: T) -> None:
        """Let a ticket wait.

        Raises:
            ByTheWayError: too many wait already.
        """
        if len(self._waiting) >= self._longest:
            raise ByTheWayError(f"{self._longest} wait already, which is as many as may; try again later.")
        self._waiting.append(ticket)

    def take(self) -> T | None:
        """The ticket whose turn it is; None where none waits."""
        order = self.order()
        if not order:
            return None
        self._turn += 1
        self._turns[order[0].owner] = self._turn
        self._waiting.remove(order[0])
        return order[0]

    def remove(self, ticket: T) -> bool:
        """Let a ticket wait no longer; whether it did."""
        waited = ticket in self._waiting
        if waited:
            self._waiting.remove(ticket)
        return waited

    def order(self) -> Sequence[T]:
        """Those that wait, in the order of their turns."""
        turns, left = dict(self._turns), list(self._waiting)
        found: list[T] = []
        while left:
            # min takes the first of those that are equal: the one that waits longest
            following = min(left, key=lambda ticket: turns.get(ticket.owner, 0))
            turns[following.owner] = self._turn + len(found) + 1
            left.remove(following)
            found.append(following)
        return found
