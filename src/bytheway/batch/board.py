"""How far workers are with what they have at work: they write it up, and the driver reads it.

Importing this imports nothing, so that the process that has the board is a small one.
"""

from __future__ import annotations

from typing import NamedTuple


class Steps(NamedTuple):
    """Denoising steps of a batch: so many are made, of so many."""

    done: int
    steps: int


class Board:
    """What each worker has said last."""

    def __init__(self) -> None:
        self._steps: dict[int, Steps] = {}

    def tell(self, worker: int, steps: Steps) -> None:
        """Write up how far a worker is."""
        self._steps[worker] = steps

    def told(self) -> dict[int, Steps]:
        """By worker; of those that are gone what they have said last."""
        return self._steps
