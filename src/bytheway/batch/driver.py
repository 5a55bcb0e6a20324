"""The driver: hands batches to workers, gives what was lost to others, and sets aside what nobody can make.

It knows no Ray, no model and no file; what it keeps does not grow with the list.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol

from bytheway.batch.board import Steps
from bytheway.batch.maker import Failure, Made
from bytheway.batch.plan import Batch, Task
from bytheway.batch.pool import Event, Lost, Pool, Ready, Recalled
from bytheway.batch.store import StoreError
from bytheway.errors import ByTheWayError

ATTEMPTS: Final = 3
IN_FLIGHT: Final = 2  # batches of a worker: while one is at work, the next is there already
_HIRES: Final = 3  # workers that do not come, one after the other, until no more are hired for them
_LOOKED_THROUGH: Final = 16  # batches that were given back, for one that another worker has tried
_TURN: Final = 1.0  # seconds after which the driver looks up where nothing happens
_REMARK: Final = 30.0  # seconds of waiting for a first worker until that is said


class Writer(Protocol):
    """Who is told of clips and of tasks that are set aside (`bytheway.batch.journal.Journal`)."""

    def made(self, row: dict[str, Any]) -> None:
        """A clip is there."""

    def failed(self, task: Task, attempts: int, said: str) -> None:
        """A task is set aside."""


@dataclass
class Tally:
    """How far a run is.

    Attributes:
        clips: how many there will be.
        there: were there before it.
        made: since, by this driver or by another.
        failed: were set aside.
        at_work: batches that workers have.
        workers: that are ready.
        began: when the first worker was ready, by `time.monotonic`.
        steps: how far workers are with what they have at work, by their numbers, as far as they have said.
    """

    clips: int
    there: int
    made: int = 0
    failed: int = 0
    at_work: int = 0
    workers: int = 0
    began: float | None = None
    steps: Mapping[int, Steps] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """How many are neither there nor made nor set aside."""
        return self.clips - self.there - self.made - self.failed

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the speed so far; None while nothing is made."""
        if self.began is None or not self.made:
            return None
        return (time.monotonic() - self.began) / self.made * self.left


@dataclass(eq=False)
class _Case:
    """A batch and what it went through: how often it was tried, what was said last, and which worker tried last."""

    batch: Batch
    attempts: int = 0
    said: str = ""
    by: int | None = None


def first_worker(pool: Pool, note: Callable[[str], None]) -> Ready:
    """Hire one worker and wait until it has loaded the model, which shows that it can be had.

    Raises:
        ByTheWayError: it cannot.
    """
    pool.hire()
    began = said = time.monotonic()
    while True:
        for event in pool.wait(_TURN):
            if isinstance(event, Ready):
                return event
            if isinstance(event, Lost):
                raise ByTheWayError(event.said)
        if time.monotonic() - said > _REMARK:
            said = time.monotonic()
            note(f"No worker is ready after {said - began:.0f} s; it waits for a free device, or loads its model.")


class Driver:
    """Has the batches of a plan made.

    Args:
        pool: who makes them.
        first: the worker that is there already.
        batches: what is to be made, in this order.
        tally: what is counted.
        writer: who is told of results.
        attempts: how often a batch is tried before it is set aside; a worker that dies counts one for that at work.
        note: hears remarks, in sentences.
        on_turn: is called after everything that happens, and once a second; in this process after every step.
    """

    def __init__(
        self,
        pool: Pool,
        first: Ready,
        batches: Iterator[Batch],
        tally: Tally,
        writer: Writer,
        *,
        attempts: int = ATTEMPTS,
        note: Callable[[str], None] = lambda said: None,
        on_turn: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._pool, self._batches, self._tally, self._writer = pool, batches, tally, writer
        self._facts, self._attempts = first.facts, attempts
        self._note, self._on_turn = note, on_turn
        self._next = next(batches, None)
        self._waiting: deque[_Case] = deque()  # given back
        self._at_work: dict[int, deque[_Case]] = {}  # by worker that is ready, that at work first
        self._free: set[int] = set()  # workers that can be given more
        self._gone: set[int] = set()  # workers that were ready once; of what they had, several answers may come at once
        self._clips = 0  # of the batches at work
        self._hired = 0  # not ready yet
        self._lost_hires = 0  # one after the other
        self._is_stopped = False
        self._welcome(first)
        pool.watch(self._hear)

    def run(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Go on until everything is made or set aside, or, when asked to stop, until what is at work is made.

        Raises:
            ByTheWayError: clips cannot be written, or no worker can be had.
        """
        for _ in range(1, min(self._pool.size, self._tally.left)):
            self._hire()
        self._feed()
        while not self._is_finished():
            self._on_turn(self._tally)
            for event in self._pool.wait(_TURN):
                self._take(event)
            if is_stopped() and not self._is_stopped:
                self._stop()
            self._feed()
        self._on_turn(self._tally)

    def _hear(self, steps: Mapping[int, Steps]) -> None:
        """Workers say how far they are; what is done, and what those say that are gone or have nothing, is old."""
        has_work = {worker for worker, cases in self._at_work.items() if cases}
        self._tally.steps = {worker: one for worker, one in sorted(steps.items()) if worker in has_work}
        self._on_turn(self._tally)

    def _is_finished(self) -> bool:
        """Whatever is being hired: on a cluster that has shrunk that may never come."""
        return not self._tally.at_work and (self._is_stopped or not (self._waiting or self._next))

    def _take(self, event: Event) -> None:
        if event.worker in self._gone:
            return
        if isinstance(event, Ready):
            self._hired -= 1
            self._welcome(event)
        elif isinstance(event, Lost):
            self._lose(event)
        else:
            case = self._taken_from(event.worker, event.batch)
            self._free.add(event.worker)
            if isinstance(event, Recalled):
                self._waiting.append(case)
            elif isinstance(event.answer, Made):
                self._write(case, event.answer)
            else:
                self._miss(case, event.worker, event.answer)
                if event.answer.is_broken:
                    self._pool.drop(event.worker)
                    self._lose(Lost(event.worker, event.answer.said), blame=False)  # it was at what it has answered

    def _write(self, case: _Case, made: Made) -> None:
        self._tally.made += len(made.rows)
        for row, fresh in zip(made.rows, made.fresh, strict=True):
            if fresh or case.by is not None:  # else another driver has made it, and written so
                self._writer.made(row)

    def _miss(self, case: _Case, worker: int, failure: Failure) -> None:
        """A batch was not made: it is tried again, taken apart to find the task at fault, or set aside."""
        case.attempts, case.said, case.by = case.attempts + 1, failure.said, worker
        if not failure.is_final and case.attempts < self._attempts:
            self._waiting.append(case)
        elif failure.is_store:
            raise StoreError(failure.said)
        elif len(case.batch.tasks) > 1:
            self._waiting.extend(_Case(batch, 0, failure.said, worker) for batch in case.batch.apart())
        else:
            self._tally.failed += 1
            self._writer.failed(case.batch.tasks[0], case.attempts, failure.said)

    def _welcome(self, ready: Ready) -> None:
        if ready.facts != self._facts:
            self._pool.drop(ready.worker)
            self._miss_hire("A machine has another model under this name, or another version of bytheway", False)
            return
        self._lost_hires = 0
        if self._tally.began is None:
            self._tally.began = time.monotonic()
        self._at_work[ready.worker] = deque()
        self._tally.workers = len(self._at_work)
        self._free.add(ready.worker)

    def _lose(self, lost: Lost, blame: bool = True) -> None:
        cases = self._at_work.pop(lost.worker, None)
        if cases is None:
            self._hired -= 1
            self._miss_hire(lost.said, lost.is_final)
            return
        self._gone.add(lost.worker)
        self._free.discard(lost.worker)
        self._tally.at_work -= len(cases)
        self._clips -= sum(len(case.batch.wanted()) for case in cases)
        self._tally.workers = len(self._at_work)
        self._note(f"A worker is lost, and what it had goes to others: {lost.said}")
        for place, case in enumerate(cases):
            if place == 0 and blame:
                self._miss(case, lost.worker, Failure(lost.said))
            else:  # it was not begun, and is not to blame
                self._waiting.append(case)
        if not self._is_stopped:
            self._hire()

    def _hire(self) -> None:
        self._hired += 1
        self._pool.hire()

    def _miss_hire(self, said: str, is_final: bool) -> None:
        """A worker that was hired did not come."""
        self._lost_hires += 1
        if not is_final and self._lost_hires < _HIRES:
            self._hire()
        elif self._at_work or self._hired:
            self._note(f"It goes on with fewer workers: {said}")
        else:
            raise ByTheWayError(said)

    def _stop(self) -> None:
        self._is_stopped = True
        for worker in self._at_work:
            self._pool.recall(worker)

    def _feed(self) -> None:
        """Give every worker what is at work, and then what is next, where there is more than one for each."""
        if self._is_stopped:
            return
        for depth in range(1, IN_FLIGHT + 1):
            for worker in [one for one in self._free if len(self._at_work[one]) < depth]:
                case = self._pick(worker) if depth == 1 or self._has_plenty() else None
                if case is not None:
                    self._at_work[worker].append(case)
                    self._tally.at_work += 1
                    self._clips += len(case.batch.wanted())
                    self._pool.send(worker, case.batch)
                    if len(self._at_work[worker]) == IN_FLIGHT:
                        self._free.discard(worker)

    def _has_plenty(self) -> bool:
        """Whether there is more left than workers that may come and have nothing, each with a batch as the next is."""
        size = len(self._next.wanted()) if self._next is not None else 1
        return self._tally.left - self._clips > self._hired * size

    def _pick(self, worker: int) -> _Case | None:
        """What a worker is given next: what was given back by another, else the next of the plan."""
        for place, case in enumerate(islice(self._waiting, _LOOKED_THROUGH)):
            if case.by != worker or len(self._at_work) == 1:
                del self._waiting[place]
                return case
        if self._next is None:
            return None
        batch, self._next = self._next, next(self._batches, None)
        return _Case(batch)

    def _taken_from(self, worker: int, batch: Batch) -> _Case:
        cases = self._at_work[worker]
        case = next(one for one in cases if one.batch is batch)
        cases.remove(case)
        self._tally.at_work -= 1
        self._clips -= len(batch.wanted())
        return case
