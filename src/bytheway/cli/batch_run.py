"""What `bytheway batch` does with its options."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

from bytheway.batch.driver import Driver, Tally, first_worker
from bytheway.batch.journal import FAILURES, Journal
from bytheway.batch.local import LocalPool
from bytheway.batch.plan import Plan, Rows, Shard, Survey, Sweep
from bytheway.batch.pool import Pool, Ready
from bytheway.batch.rows import Row, read_rows
from bytheway.batch.store import open_store
from bytheway.cli.errors import EXIT_SIGNALLED
from bytheway.cli.progress import BatchProgress
from bytheway.cli.run import ModelChoice
from bytheway.cli.tables import note, print_settings, warn
from bytheway.errors import ByTheWayError
from bytheway.families.family import Start
from bytheway.models.lora import split_weight

EXIT_SOME_FAILED = 1


@dataclass(frozen=True)
class Crew:
    """Who makes the clips: Ray's workers where an address or a number of them is given, else this process."""

    address: str | None
    workers: int | None
    gpus: float | None = None
    cpus: int = 1

    @property
    def is_ray(self) -> bool:
        """Whether Ray is asked for."""
        return self.address is not None or self.workers is not None

    def pool(self, choice: ModelChoice, place: str) -> Pool:
        """The workers, none of them hired yet."""
        if not self.is_ray:
            return LocalPool(choice, open_store(place))
        from bytheway.batch.farm import RayPool

        return RayPool(choice, place, address=self.address, workers=self.workers, gpus=self.gpus, cpus=self.cpus)


@contextmanager
def rows_as_they_are(jobs: Path) -> Iterator[Rows]:
    """The rows of a jobs file as often as need be, whatever is done to it meanwhile: from a copy.

    Raises:
        ByTheWayError: the file cannot be read, or the scratch folder is full.
    """
    with tempfile.TemporaryDirectory(prefix="bytheway-") as folder:
        copy = Path(folder) / jobs.name
        try:
            shutil.copyfile(jobs, copy)
        except OSError as error:
            raise ByTheWayError(
                f"{jobs} cannot be read, or copied to a scratch folder: {error.strerror or error}."
            ) from error
        yield partial(read_rows, copy, jobs.parent)


def run_batch(
    rows_of: Rows,
    place: str,
    sweep: Sweep,
    choice: ModelChoice,
    crew: Crew,
    *,
    batch_size: int,
    shard: Shard | None,
    attempts: int,
    is_dry: bool,
) -> int:
    """Check everything, have the clips made that are not there, and say how it went; gives the exit code."""
    if batch_size < 1:
        raise ByTheWayError(f"batch_size is {batch_size}; it must be at least 1.", setting="batch_size")
    if shard is not None and crew.is_ray:
        raise ByTheWayError("A shard is made in this process, without Ray; leave --workers and --address out.")
    rows, start = _looked_through(rows_of)  # every row is checked before anything is started
    choice = replace(choice, start=start)
    store = open_store(place)
    store.prepare()
    # What Ray prints of workers that die, also where it is asked not to, is no result.
    with redirect_stdout(sys.stderr), closing(crew.pool(choice, place)) as pool:
        first = first_worker(pool, note)
        facts = first.facts.with_loras([split_weight(lora)[1] for lora in choice.lora])
        plan = Plan(rows_of, sweep, facts, batch_size=batch_size, shard=shard)
        survey = plan.survey(plan.clips_in(store))
        tally = Tally(survey.clips, survey.there)
        note(f"{tally.clips} clips of {rows} rows: {tally.there} are there, {tally.left} are to be made.")
        journal = Journal(store, shard or Shard())
        stopped = not is_dry and _make(pool, first, plan, survey, tally, journal, attempts)
    return _print_plan(tally, place) if is_dry else _print_end(tally, place, stopped)


def _looked_through(rows_of: Rows) -> tuple[int, Start | None]:
    """How many rows there are, and what all of them start from.

    Raises:
        ByTheWayError: a row is wrong, or starts from something else than others.
    """
    first, count = None, 0
    for row in rows_of():
        first, count = first or row, count + 1
        if row.start != first.start:
            raise ByTheWayError(
                f"{row.where} starts from {_said(row)}, and {first.where} from {_said(first)}; a run has one model, so "
                "give each kind a jobs file of its own."
            )
    return count, first.start if first else None


def _said(row: Row) -> str:
    return f"{row.start}s" if row.start else "its prompt alone"


def _make(pool: Pool, first: Ready, plan: Plan, survey: Survey, tally: Tally, journal: Journal, attempts: int) -> bool:
    """Have made what is left; gives whether it was stopped before its end."""
    if not journal.has_manifest:
        note("There will be no manifest: it needs pyarrow.")
    with journal, BatchProgress(tally) as progress, interrupts() as is_stopped:
        journal.read_again(plan.there(survey), partial(_damaged, tally))
        driver = Driver(pool, first, plan.left(survey), tally, journal, attempts=attempts, note=note, on_turn=progress)
        driver.run(is_stopped)
        return is_stopped() and tally.left > 0


def _damaged(tally: Tally, said: str) -> None:
    tally.there -= 1
    tally.failed += 1
    warn(f"{said} Remove it, and the same command makes it again.")


def _print_plan(tally: Tally, place: str) -> int:
    print_settings("plan", {"clips": tally.clips, "there": tally.there, "to be made": tally.left, "output": place})
    return 0


def _print_end(tally: Tally, place: str, stopped: bool) -> int:
    print_settings(
        "batch",
        {
            "clips": tally.clips,
            "there before": tally.there,
            "made": tally.made,
            "set aside": tally.failed,
            "output": place,
        },
    )
    if tally.failed:
        warn(f"{tally.failed} clips were set aside; {place}/{FAILURES} says why. The same command tries them again.")
    if stopped:
        note("Stopped; the same command goes on.")
        return EXIT_SIGNALLED + signal.SIGINT
    return EXIT_SOME_FAILED if tally.failed else 0


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """While the block runs, Ctrl-C is a wish that can be asked about; a second one interrupts at once."""
    asked = threading.Event()

    def heard(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        note("What is at work is finished; once more drops it.")

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGINT, heard)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
