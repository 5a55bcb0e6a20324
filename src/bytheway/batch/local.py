"""One worker in this process: the machine at hand, or one of the shards of a job array."""

from __future__ import annotations

from collections import deque
from typing import Final

from bytheway.batch.maker import Maker
from bytheway.batch.plan import Batch
from bytheway.batch.pool import Answered, Event, OnSteps, Ready, Recalled
from bytheway.batch.store import Store
from bytheway.errors import ByTheWayError
from bytheway.models.choice import ModelChoice

_WORKER: Final = 0


class LocalPool:
    """A pool of one, which makes a batch whenever the driver waits.

    Args:
        choice: the model.
        store: where clips go.
    """

    size = 1

    def __init__(self, choice: ModelChoice, store: Store) -> None:
        self._choice, self._store = choice, store
        self._maker: Maker | None = None
        self._queue: deque[Batch] = deque()
        self._recalled: list[Event] = []
        self._on_steps: OnSteps = lambda steps: None

    def hire(self) -> None:
        if self._maker is not None:
            raise ByTheWayError("The device has failed, and this process cannot use it again; give the command again.")

    def send(self, worker: int, batch: Batch) -> None:
        self._queue.append(batch)

    def recall(self, worker: int) -> None:
        self._recalled += [Recalled(_WORKER, batch) for batch in self._queue]
        self._queue.clear()

    def drop(self, worker: int) -> None:
        self._queue.clear()

    def watch(self, on_steps: OnSteps) -> None:
        self._on_steps = on_steps

    def wait(self, seconds: float) -> list[Event]:
        if self._maker is None:
            self._maker = Maker(self._choice, self._store)
            return [Ready(_WORKER, self._maker.facts())]
        if self._queue:
            batch = self._queue.popleft()
            return [Answered(_WORKER, batch, self._maker.make(batch, lambda steps: self._on_steps({_WORKER: steps})))]
        recalled, self._recalled = self._recalled, []
        return recalled

    def close(self) -> None:
        self._queue.clear()
