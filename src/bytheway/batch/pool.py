"""What a driver asks of those who make clips, in this process or on many machines, and what it hears of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bytheway.batch.board import Steps
from bytheway.batch.maker import Failure, Made
from bytheway.batch.plan import Batch, Facts


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its model."""

    worker: int
    facts: Facts


@dataclass(frozen=True)
class Answered:
    """A worker has made a batch, or not."""

    worker: int
    batch: Batch
    answer: Made | Failure


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with the batches that it had.

    Attributes:
        worker: its number.
        said: what is known of the reason, in a sentence.
        is_final: whether another worker would end in the same way, as where there is no such model.
    """

    worker: int
    said: str
    is_final: bool = False


@dataclass(frozen=True)
class Recalled:
    """A batch was taken back from a worker before that had begun it."""

    worker: int
    batch: Batch


Event: TypeAlias = Ready | Answered | Lost | Recalled
OnSteps: TypeAlias = Callable[[Mapping[int, Steps]], None]


class Pool(Protocol):
    """Workers, each of which makes one batch after the other in the order in which they are sent."""

    @property
    def size(self) -> int:
        """How many workers are wanted."""

    def hire(self) -> None:
        """Ask for one more worker; it is `Ready`, or `Lost`, some time later, or never where no machine has room."""

    def send(self, worker: int, batch: Batch) -> None:
        """Give a batch to a worker that is ready."""

    def recall(self, worker: int) -> None:
        """Take back what a worker has not begun; each of these batches is `Recalled`, or `Answered` after all."""

    def drop(self, worker: int) -> None:
        """End a worker; nothing more is heard of it."""

    def watch(self, on_steps: OnSteps) -> None:
        """While it waits, tell now and then how far workers are with what they have at work, by their numbers."""

    def wait(self, seconds: float) -> list[Event]:
        """What has happened, after so many seconds at most; a worker in this process makes its batch meanwhile."""

    def close(self) -> None:
        """End all workers at once."""
