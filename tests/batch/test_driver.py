"""The driver against workers that do as they are told: every kind of loss, and nothing twice."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bytheway.batch.board import Steps
from bytheway.batch.driver import Driver, Tally, first_worker
from bytheway.batch.maker import Failure, Made
from bytheway.batch.plan import Batch, Facts, Plan, Task
from bytheway.batch.pool import Answered, Event, Lost, OnSteps, Ready, Recalled
from bytheway.batch.store import StoreError
from bytheway.errors import ByTheWayError
from tests.batch.conftest import FACTS

PlanOf = Callable[..., Plan]
Answer = Made | Failure | Lost | None
"""None: it is made as it should be."""


@dataclass
class Workers:
    """A pool in which each worker, in turn, does what `act` says of the batch that it has at work."""

    size: int
    act: Callable[[int, Batch], Answer] = lambda worker, batch: None
    hires: Callable[[int], Facts | Lost | None] = lambda worker: FACTS
    hired: int = 0
    pending: list[int] = field(default_factory=list)
    queues: dict[int, deque[Batch]] = field(default_factory=dict)
    tried: list[tuple[int, str]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    deepest: int = 0

    def hire(self) -> None:
        self.pending.append(self.hired)
        self.hired += 1

    def send(self, worker: int, batch: Batch) -> None:
        self.queues[worker].append(batch)
        self.deepest = max(self.deepest, len(self.queues[worker]))

    def recall(self, worker: int) -> None:
        self.recalled = [Recalled(worker, batch) for batch in list(self.queues[worker])[1:]]
        while len(self.queues[worker]) > 1:
            self.queues[worker].pop()
        self.events += self.recalled

    events: list[Event] = field(default_factory=list)

    def drop(self, worker: int) -> None:
        self.dropped.append(worker)
        self.queues.pop(worker, None)

    def close(self) -> None:
        self.queues.clear()

    def watch(self, on_steps: OnSteps) -> None:
        self.say = on_steps

    def wait(self, seconds: float) -> list[Event]:
        events, self.events = self.events, []
        coming, self.pending = self.pending, []
        for worker in coming:
            told = self.hires(worker)
            if isinstance(told, Facts):
                self.queues[worker] = deque()
                events.append(Ready(worker, told))
            elif told is not None:
                events.append(told)
        for worker, queue in list(self.queues.items()):
            if queue:
                batch = queue.popleft()
                self.tried.append((worker, prompts([batch])))
                answer = self.act(worker, batch)
                if isinstance(answer, Lost):
                    del self.queues[worker]
                    events.append(answer)
                else:
                    events.append(Answered(worker, batch, answer or made(batch)))
        return events


def test_how_far_workers_are_is_known_of_those_at_work(plan_of: PlanOf) -> None:
    said = {worker: Steps(worker, 25) for worker in range(9)}
    seen: list[Mapping[int, Steps]] = []

    def act(worker: int, batch: Batch) -> Answer:
        workers.say(said)
        return Lost(worker, "gone") if worker == 0 else None

    workers = Workers(2, act)
    plan = plan_of(list("abcd"))
    first = first_worker(workers, lambda note: None)
    tally = Tally(4, 0)
    driver = Driver(
        workers, first, plan.left(plan.survey([])), tally, Book(), on_turn=lambda one: seen.append(one.steps)
    )
    driver.run()
    told = [steps for steps in seen if steps]
    assert {worker for steps in told for worker in steps} == {0, 1, 2}
    assert all(steps[worker] == said[worker] for steps in told for worker in steps)
    assert 0 not in told[-1]


def made(batch: Batch, fresh: bool = True) -> Made:
    wanted = batch.wanted()
    return Made(tuple({"prompt": task.prompt} for task in wanted), (fresh,) * len(wanted))


def prompts(batches: list[Batch]) -> str:
    return "".join(task.prompt for batch in batches for task in batch.tasks)


class Book:
    """What was written."""

    def __init__(self) -> None:
        self.clips: list[str] = []
        self.failures: list[tuple[str, int, str]] = []

    def made(self, row: dict[str, Any]) -> None:
        self.clips.append(row["prompt"])

    def failed(self, task: Task, attempts: int, said: str) -> None:
        self.failures.append((task.prompt, attempts, said))


def drive(
    plan: Plan, workers: Workers, stop: Callable[[], bool] = lambda: False, there: list[str] | None = None
) -> tuple[Book, Tally, list[str]]:
    notes: list[str] = []
    first = first_worker(workers, notes.append)
    survey = plan.survey(there or [])
    tally, book = Tally(survey.clips, survey.there), Book()
    Driver(workers, first, plan.left(survey), tally, book, note=notes.append).run(stop)
    return book, tally, notes


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_everything_is_made_once(plan_of: PlanOf, size: int) -> None:
    workers = Workers(size)
    book, tally, _ = drive(plan_of(list("abcdefghijklmnop")), workers)
    assert Counter(book.clips) == Counter("abcdefghijklmnop")
    assert (tally.made, tally.failed, tally.at_work) == (16, 0, 0)
    assert workers.hired == min(size, 16)  # no more than there are clips
    assert workers.deepest <= 2


def test_the_next_is_sent_while_one_is_at_work_but_no_worker_goes_empty_for_it(plan_of: PlanOf) -> None:
    workers = Workers(2)
    drive(plan_of(list("abcdefgh")), workers)
    assert workers.deepest == 2
    few = Workers(2)
    drive(plan_of(list("ab")), few)
    assert few.deepest == 1


def test_a_batch_is_kept_for_a_worker_that_comes_later(plan_of: PlanOf) -> None:
    """Two batches of four clips: the first worker has not both while the second loads its model."""
    workers = Workers(2, hires=lambda worker: FACTS if worker == 0 else None)
    drive(plan_of(list("abcdefgh"), batch_size=4), workers)
    assert workers.deepest == 1


def test_nothing_is_made_that_is_there(plan_of: PlanOf) -> None:
    plan = plan_of(list("abc"))
    names = [task.name for batch in plan.batches() for task in batch.tasks]
    book, tally, _ = drive(plan, Workers(1), there=names[:2])
    assert book.clips == ["c"]
    assert (tally.clips, tally.there, tally.made) == (3, 2, 1)
    workers = Workers(3)
    drive(plan, workers, there=names)
    assert workers.tried == []
    assert workers.hired == 1


def test_a_lost_worker_is_replaced_and_what_it_had_made_by_others(plan_of: PlanOf) -> None:
    lost = iter([Lost(0, "It was killed.")])
    workers = Workers(2, lambda worker, batch: next(lost, None) if worker == 0 else None)
    book, tally, notes = drive(plan_of(list("abcdef")), workers)
    assert Counter(book.clips) == Counter("abcdef")
    assert (tally.made, tally.failed, workers.hired) == (6, 0, 3)
    assert any("It was killed." in said for said in notes)


def test_a_task_that_kills_its_workers_is_set_aside_and_its_neighbours_are_not(plan_of: PlanOf) -> None:
    """The next in the queue of a worker that dies is not to blame."""

    def act(worker: int, batch: Batch) -> Answer:
        return Lost(worker, "It was killed.") if prompts([batch]) == "p" else None

    for size in (1, 3):
        workers = Workers(size, act)
        book, tally, _ = drive(plan_of(list("apbcd")), workers)
        assert Counter(book.clips) == Counter("abcd")
        assert book.failures == [("p", 3, "It was killed.")]
        assert [prompt for _, prompt in workers.tried].count("p") == 3
        assert (tally.made, tally.failed) == (4, 1)


def test_an_error_is_tried_by_another_worker(plan_of: PlanOf) -> None:
    def act(worker: int, batch: Batch) -> Answer:
        return Failure("This device is bad.") if worker == 0 else None

    workers = Workers(2, act)
    book, *_ = drive(plan_of(list("abcd")), workers)
    assert Counter(book.clips) == Counter("abcd")
    tries = [prompt for worker, prompt in workers.tried if worker == 0]
    assert len(tries) == len(set(tries))


def test_one_worker_alone_tries_again_itself(plan_of: PlanOf) -> None:
    answers = iter([Failure("Once."), Failure("Twice.")])
    book, tally, _ = drive(plan_of(["a"]), Workers(1, lambda worker, batch: next(answers, None)))
    assert (book.clips, tally.failed) == (["a"], 0)


def test_settings_at_fault_are_tried_once(plan_of: PlanOf) -> None:
    def act(worker: int, batch: Batch) -> Answer:
        return Failure("Not so.", is_final=True) if prompts([batch]) == "b" else None

    book, *_ = drive(plan_of(list("abc")), Workers(1, act))
    assert book.clips == ["a", "c"]
    assert book.failures == [("b", 1, "Not so.")]


def test_a_task_at_fault_is_found_in_its_batch(plan_of: PlanOf) -> None:
    def act(worker: int, batch: Batch) -> Answer:
        return Failure("Not so.", is_final=True) if "b" in prompts([batch]) else None

    workers = Workers(1, act)
    book, tally, _ = drive(plan_of(list("abcde"), batch_size=3), workers)
    assert Counter(book.clips) == Counter("acde")
    assert book.failures == [("b", 1, "Not so.")]
    assert [prompt for _, prompt in workers.tried] == ["abc", "a", "b", "c", "de"] or tally.made == 4


def test_a_place_that_cannot_be_written_ends_the_run_and_blames_no_task(plan_of: PlanOf) -> None:
    workers = Workers(1, lambda worker, batch: Failure("The disk is full.", is_store=True))
    with pytest.raises(StoreError, match="disk is full"):
        drive(plan_of(list("abc")), workers)
    once = iter([Failure("The network is away.", is_store=True)])
    _, tally, _ = drive(plan_of(list("abc")), Workers(1, lambda worker, batch: next(once, None)))
    assert (tally.made, tally.failed) == (3, 0)


def test_a_broken_worker_is_replaced(plan_of: PlanOf) -> None:
    def act(worker: int, batch: Batch) -> Answer:
        return Failure("CUDA error", is_broken=True) if worker == 0 else None

    workers = Workers(1, act)
    book, *_ = drive(plan_of(list("abc")), workers)
    assert Counter(book.clips) == Counter("abc")
    assert workers.dropped == [0]


class BrokenAtOnce(Workers):
    """A worker that is broken fails with all that it has before anybody looks, or does so one look later."""

    later = False

    def wait(self, seconds: float) -> list[Event]:
        events = super().wait(seconds)
        for event in list(events):
            if isinstance(event, Answered) and isinstance(event.answer, Failure) and not self.later:
                rest = self.queues[event.worker]
                events += [Answered(event.worker, batch, event.answer) for batch in rest]
                rest.clear()
        return events


@pytest.mark.parametrize("later", [False, True])
def test_what_waits_at_a_broken_worker_is_not_to_blame(plan_of: PlanOf, later: bool) -> None:
    """Three devices break at "x", each with "a" in its queue."""

    def act(worker: int, batch: Batch) -> Answer:
        return Failure("CUDA error", is_broken=True) if prompts([batch]) == "x" else None

    workers = BrokenAtOnce(1, act)
    workers.later = later
    book, tally, _ = drive(plan_of(list("xabcd")), workers)
    assert Counter(book.clips) == Counter("abcd")
    assert book.failures == [("x", 3, "CUDA error")]
    assert workers.dropped == [0, 1, 2]
    assert (tally.made, tally.failed, tally.at_work) == (4, 1, 0)


def test_a_worker_that_is_lost_after_it_broke_is_lost_once(plan_of: PlanOf) -> None:
    class AndLost(Workers):
        def drop(self, worker: int) -> None:
            super().drop(worker)
            self.events.append(Lost(worker, "It was ended."))

    answers: Iterator[Answer] = iter([Failure("CUDA error", is_broken=True)])
    workers = AndLost(2, lambda worker, batch: next(answers, None))
    _, tally, notes = drive(plan_of(list("abcdef")), workers)
    assert (tally.made, workers.hired, tally.workers) == (6, 3, 2)
    assert len([said for said in notes if "is lost" in said]) == 1


def test_a_hire_that_never_comes_holds_nothing_up(plan_of: PlanOf) -> None:
    """As on a cluster that has shrunk."""
    workers = Workers(3, hires=lambda worker: FACTS if worker == 0 else None)
    _, tally, _ = drive(plan_of(list("abcd")), workers)
    assert (tally.made, tally.workers) == (4, 1)
    assert {worker for worker, _ in workers.tried} == {0}


def test_workers_with_another_model_make_nothing(plan_of: PlanOf) -> None:
    other = replace(FACTS, weights="f" * 16)
    workers = Workers(2, hires=lambda worker: FACTS if worker == 0 else other)
    *_, notes = drive(plan_of(list("abcd")), workers)
    assert {worker for worker, _ in workers.tried} == {0}
    assert workers.dropped
    assert any("another model" in said for said in notes)


def test_a_run_without_workers_ends_with_the_reason(plan_of: PlanOf) -> None:
    gone = Workers(1, lambda worker, batch: Lost(worker, "It was killed."))
    gone.hires = lambda worker: FACTS if worker == 0 else Lost(worker, "There is no memory.")
    with pytest.raises(ByTheWayError, match="no memory"):
        drive(plan_of(list("ab")), gone)
    assert gone.hired == 4  # the first, and three that did not come
    with pytest.raises(ByTheWayError, match="no such model"):
        drive(plan_of(["a"]), Workers(1, hires=lambda worker: Lost(worker, "There is no such model.", is_final=True)))


def test_a_wish_to_stop_finishes_what_is_at_work_and_begins_nothing(plan_of: PlanOf) -> None:
    turns = iter([False, True])
    workers = Workers(2)
    _, tally, _ = drive(plan_of(list("abcdefghij")), workers, lambda: next(turns, True))
    assert 0 < tally.made < 10
    assert tally.at_work == 0
    assert len(workers.tried) == tally.made


def test_a_clip_that_another_driver_has_made_is_written_by_that_one(plan_of: PlanOf) -> None:
    book, tally, _ = drive(plan_of(["a"]), Workers(1, lambda worker, batch: made(batch, fresh=False)))
    assert (book.clips, tally.made) == ([], 1)


def test_a_clip_that_a_lost_worker_had_made_is_written(plan_of: PlanOf) -> None:
    """It was put there, and died before it told so: the next worker finds it."""
    answers: Iterator[Answer] = iter([Lost(0, "It was killed.")])
    workers = Workers(1, lambda worker, batch: next(answers, made(batch, fresh=False)))
    book, tally, _ = drive(plan_of(["a"]), workers)
    assert (book.clips, tally.made) == (["a"], 1)


def test_clips_that_a_batch_had_put_before_it_failed_are_written(plan_of: PlanOf) -> None:
    """It is taken apart, and the next worker finds the first of its clips."""

    def act(worker: int, batch: Batch) -> Answer:
        if len(batch.tasks) > 1:
            return Failure("Not so.", is_final=True)
        return made(batch, fresh=prompts([batch]) != "a")

    book, *_ = drive(plan_of(list("ab"), batch_size=2), Workers(1, act))
    assert book.clips == ["a", "b"]


def test_the_time_left_is_that_of_the_speed_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bytheway.batch.driver.time.monotonic", lambda: 100.0)
    assert Tally(10, 2, made=2, failed=1, began=80.0).seconds_left == 50.0
    assert Tally(10, 2, began=80.0).seconds_left is None
