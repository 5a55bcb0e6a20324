"""What `bytheway batch` costs beside the clips: `python -m benchmarks.batch driver`, `... clips` and `... workers`.

`driver`: a million tasks and a thousand workers that only sleep, in simulated time. Everything of the driver is real
but the workers: planning, looking up what is there, handing out, taking back, and the manifest. CPU seconds and memory.

`clips`: clips of diorama made by the command's own loop in one process, against the same clips in a plain loop that
saves them, in turns; CPU seconds of each.

`workers`: one process without Ray, one worker of Ray, and two, in turns; by the clock, so on a machine of two cores
that has nothing else to do. A start ends with the first worker that has loaded the model. The rate is that of the
clips in the middle, when all workers are at work.
"""

from __future__ import annotations

import heapq
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bytheway.batch.driver import Driver, Tally, first_worker
from bytheway.batch.farm import RayPool
from bytheway.batch.journal import Journal
from bytheway.batch.local import LocalPool
from bytheway.batch.maker import Made
from bytheway.batch.plan import Batch, Facts, Plan, Shard, Sweep
from bytheway.batch.pool import Answered, Event, OnSteps, Pool, Ready
from bytheway.batch.rows import Row
from bytheway.batch.store import open_store
from bytheway.config import ByTheWayConfig
from bytheway.evaluation.experiment.arms import parse_arm
from bytheway.evaluation.manifest import row_of
from bytheway.models.choice import ModelChoice

FACTS = Facts("0123456789abcdef", "float32", ByTheWayConfig().to_dict(), 16, 64, 64, 25, 2.0, 8.0, "Toy", "toy", None)
SECONDS = 1.0  # that a simulated clip takes, in the mean


class SleepingPool:
    """Workers of which each sleeps for every batch, in simulated time."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._hired = 0
        self._events: list[Event] = []
        self._clock = 0.0
        self._free_at: dict[int, float] = {}
        self._due: list[tuple[float, int, int, Batch]] = []
        self._sent = 0
        self._random = random.Random(0)

    def hire(self) -> None:
        self._free_at[self._hired] = 0.0
        self._events.append(Ready(self._hired, FACTS))
        self._hired += 1

    def send(self, worker: int, batch: Batch) -> None:
        begins = max(self._clock, self._free_at[worker])
        self._free_at[worker] = begins + self._random.uniform(0.5, 1.5) * SECONDS
        self._sent += 1
        heapq.heappush(self._due, (self._free_at[worker], self._sent, worker, batch))

    def recall(self, worker: int) -> None:
        raise NotImplementedError

    def drop(self, worker: int) -> None:
        raise NotImplementedError

    def watch(self, on_steps: OnSteps) -> None:
        pass

    def wait(self, seconds: float) -> list[Event]:
        events, self._events = self._events, []
        if events:
            return events
        self._clock, _, worker, batch = heapq.heappop(self._due)
        rows = tuple(row_of(task.name, {"prompt": task.prompt, "seed": task.seed}) for task in batch.tasks)
        return [Answered(worker, batch, Made(rows, (True,) * len(rows)))]

    def close(self) -> None:
        self._due.clear()


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def driver(clips: int, workers: int) -> None:
    """Print what the driver costs for so many clips."""

    def rows() -> Iterator[Row]:
        return (Row("", f"a red ball rolling to the right, number {number}") for number in range(clips))

    plan = Plan(rows, Sweep((parse_arm("enhanced"),)), FACTS)
    print(f"{clips} clips, {workers} workers; {megabytes():.0f} MB before")
    began = time.process_time()
    survey = plan.survey([])
    surveyed = time.process_time() - began
    print(f"planned: {surveyed:.1f} CPU s, {clips / surveyed:.0f} a second, {megabytes():.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        store, pool = open_store(folder), SleepingPool(workers)
        tally, reached = Tally(survey.clips, 0), 0

        def turn(tally: Tally) -> None:
            nonlocal reached
            if tally.made >= (reached + 1) * clips // 4:
                reached += 1
                spent = time.process_time() - began - surveyed
                print(f"{tally.made} made: {spent:.1f} CPU s, {tally.made / spent:.0f} a second, {megabytes():.0f} MB")

        with Journal(store, Shard()) as journal:
            Driver(pool, first_worker(pool, print), plan.left(survey), tally, journal, on_turn=turn).run()
        assert tally.made == clips


def clips(count: int, steps: int) -> None:
    """Print CPU seconds of a clip in the command's loop and in a plain one."""
    from bytheway.generation.request import Request
    from bytheway.generation.run import generate

    choice = ModelChoice("diorama", None, (), "cpu", None)
    prompts = [f"a red ball rolling to the right on grass {number}" for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        pool = LocalPool(choice, open_store(folder))
        first = first_worker(pool, print)
        pipe, config = choice.load(), ByTheWayConfig.from_dict(dict(first.facts.preset))
        for turn in range(4):
            sweep = Sweep((parse_arm("enhanced"),), settings={"steps": steps, "seed": turn})
            began = time.process_time()
            plan = Plan(lambda: [Row("", prompt) for prompt in prompts], sweep, first.facts)
            survey = plan.survey(plan.clips_in(open_store(folder)))
            with Journal(open_store(folder), Shard()) as journal:
                Driver(pool, first, plan.left(survey), Tally(survey.clips, survey.there), journal).run()
            ours = time.process_time() - began
            began = time.process_time()
            for prompt in prompts:
                (clip,) = generate(pipe, Request((prompt,), seed=turn, steps=steps, config=config))
                clip.save(Path(folder) / "plain.mp4")
            plain = time.process_time() - began
            print(
                f"turn {turn}: {ours / count:.3f} and {plain / count:.3f} CPU s a clip, {(ours - plain) / count:+.3f}"
            )


def workers(count: int, turns: int) -> None:
    """Print the start and the rate of a process, of one worker and of two; each worker has one thread."""
    import torch

    torch.set_num_threads(1)
    choice = ModelChoice("diorama", None, (), "cpu", None)
    sizes = {"one process": 0, "one worker": 1, "two workers": 2}
    rates: dict[str, list[float]] = {name: [] for name in sizes}
    for turn in range(turns):
        for name, size in sizes.items():
            with tempfile.TemporaryDirectory() as folder:
                start, rate = _rate(choice, folder, size, count)
            rates[name].append(rate)
            print(f"turn {turn}, {name}: start {start:.1f} s, {rate:.3f} clips a second", flush=True)
    for name, than in (("one worker", "one process"), ("two workers", "one worker")):
        ratios = sorted(ours / theirs for ours, theirs in zip(rates[name], rates[than], strict=True))
        said = f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"{name} over {than}: {said}")


def _rate(choice: ModelChoice, folder: str, size: int, count: int) -> tuple[float, float]:
    """Seconds until the first worker is ready, and clips a second without the first and the last ones."""
    began = time.monotonic()
    pool: Pool = (
        RayPool(choice, folder, address=None, workers=size, gpus=0, cpus=1)
        if size
        else LocalPool(choice, open_store(folder))
    )
    seen: list[float] = []

    def turn(tally: Tally) -> None:
        seen.extend([time.monotonic()] * (tally.made - len(seen)))

    try:
        first = first_worker(pool, print)
        start = time.monotonic() - began
        rows = [Row("", f"a red ball rolling to the right on grass {number}") for number in range(count)]
        plan = Plan(lambda: rows, Sweep((parse_arm("enhanced"),)), first.facts)
        survey = plan.survey([])
        with Journal(open_store(folder), Shard()) as journal:
            Driver(pool, first, plan.left(survey), Tally(survey.clips, 0), journal, on_turn=turn).run()
    finally:
        pool.close()
    warm, over = 4, len(seen) - 3
    return start, (over - warm) / (seen[over] - seen[warm])


if __name__ == "__main__":
    if sys.argv[1:] == ["clips"]:
        clips(4, 5)
    elif sys.argv[1:] == ["workers"]:
        workers(18, 2)
    else:
        driver(10**6, 1000)
