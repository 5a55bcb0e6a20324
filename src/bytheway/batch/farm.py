"""Workers on one machine or many, as actors of Ray: one model each, loaded once, on a device or a share of one.

Ray is asked for little. It places actors, tells when one is gone, and carries batches and names; clips never go through
it. It restarts nothing, for a call to an actor that is being restarted fails at once and would count as an attempt:
whoever is lost is replaced by the driver.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from itertools import count
from typing import Any, Final

from bytheway.batch.board import Board, Steps
from bytheway.batch.maker import Failure, Made, Maker
from bytheway.batch.plan import Batch, Facts
from bytheway.batch.pool import Answered, Event, Lost, OnSteps, Ready, Recalled
from bytheway.batch.store import open_store
from bytheway.errors import ByTheWayError
from bytheway.models.choice import ModelChoice

_TOLD: Final = ("AWS_", "FSSPEC_")  # begin the names of variables that workers need to reach an object store
_OWN: Final = "bytheway"  # namespace
_OBJECTS: Final = 100 * 2**20  # bytes of memory for what goes through Ray: nothing large does
_LOOK: Final = 1.0  # seconds between two looks at the board, and between two things that a worker writes on it


class RayPool:
    """Workers that Ray runs.

    Args:
        choice: the model.
        place: where clips go, as `bytheway.batch.store.open_store` reads it on every machine.
        address: of the cluster; None starts Ray on this machine, for this run.
        workers: how many; None: as many as there is room for when the run begins.
        gpus: of each; None: 1 where the cluster has any, else 0.
        cpus: of each, and its threads.

    Raises:
        ByTheWayError: Ray is not installed, the cluster cannot be reached, or has room for no worker.
    """

    def __init__(
        self,
        choice: ModelChoice,
        place: str,
        *,
        address: str | None,
        workers: int | None,
        gpus: float | None,
        cpus: int,
    ) -> None:
        self._ray = _ray()
        self._choice, self._place = choice, _everywhere(place)
        self._connect(address, workers, cpus)
        there = self._ray.cluster_resources()
        self._gpus = gpus if gpus is not None else min(1.0, there.get("GPU", 0.0))
        self._cpus = cpus
        room = int(
            min(there.get("CPU", 0.0) / cpus, there.get("GPU", 0.0) / self._gpus if self._gpus else float("inf"))
        )
        self.size = workers if workers is not None else room
        if room < 1:
            self.close()
            raise ByTheWayError(
                f"No machine has room for a worker of {cpus} CPUs and {self._gpus:g} GPUs; ask for less of either."
            )
        self._numbers = count()
        self._actors: dict[int, Any] = {}
        self._hired: dict[Any, int] = {}  # by the call that tells that a worker is ready
        self._calls: dict[Any, tuple[int, Batch]] = {}  # by call
        self._board = self._ray.remote(num_cpus=0)(Board).remote()
        self._on_steps: OnSteps = lambda steps: None
        self._look: Any = None  # a call of the board
        self._looked = 0.0

    def hire(self) -> None:
        worker = next(self._numbers)
        kind = self._ray.remote(
            num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0, max_task_retries=0, max_concurrency=1
        )(_Worker)
        actor = kind.remote(self._choice, self._place, self._cpus, self._board, worker)
        self._actors[worker] = actor
        self._hired[actor.load.remote()] = worker

    def send(self, worker: int, batch: Batch) -> None:
        self._calls[self._actors[worker].make.remote(batch)] = worker, batch

    def recall(self, worker: int) -> None:
        """The first call is at work; Ray ends those that are not begun."""
        for call in [call for call, (its, _) in self._calls.items() if its == worker][1:]:
            self._ray.cancel(call)

    def drop(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        self._calls = {call: it for call, it in self._calls.items() if it[0] != worker}
        self._hired = {call: its for call, its in self._hired.items() if its != worker}
        if actor is not None:
            self._ray.kill(actor)

    def watch(self, on_steps: OnSteps) -> None:
        self._on_steps = on_steps

    def wait(self, seconds: float) -> list[Event]:
        self._look_at_board()
        calls = [*self._hired, *self._calls]
        if not calls:
            return []
        done, rest = self._ray.wait(calls, num_returns=1, timeout=seconds)
        if done and rest:
            done += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [event for call in done if (event := self._heard(call)) is not None]

    def _look_at_board(self) -> None:
        """Tell what was on the board, and look again; nothing waits for it, nor needs it."""
        if self._look is not None and self._ray.wait([self._look], num_returns=1, timeout=0)[0]:
            look, self._look = self._look, None
            with suppress(self._ray.exceptions.RayError):  # its machine is gone
                self._on_steps(self._ray.get(look))
        if self._look is None and time.monotonic() - self._looked >= _LOOK:
            self._looked = time.monotonic()
            self._look = self._board.told.remote()

    def _heard(self, call: Any) -> Event | None:
        """What a call has come to; nothing where its worker is known to be gone."""
        if call in self._hired:
            worker, batch = self._hired[call], None
        elif call in self._calls:
            worker, batch = self._calls[call]
        else:
            return None
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.TaskCancelledError:
            assert batch is not None
            del self._calls[call]
            return Recalled(worker, batch)
        except self._ray.exceptions.RayError as error:
            self.drop(worker)
            return Lost(worker, _first_line(error))
        if batch is not None:
            del self._calls[call]
            return Answered(worker, batch, answer)
        if isinstance(answer, Failure):
            self.drop(worker)
            return Lost(worker, answer.said, answer.is_final)
        del self._hired[call]
        return Ready(worker, answer)

    def close(self) -> None:
        self._ray.shutdown()

    def _connect(self, address: str | None, workers: int | None, cpus: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")  # a job that has such variables as well is no error
        told = {name: value for name, value in os.environ.items() if name.startswith(_TOLD)}
        own: dict[str, Any] = {}
        if address is None:
            room = max((workers or 1) * cpus, os.cpu_count() or 1)
            own = {"num_cpus": room, "include_dashboard": False, "object_store_memory": _OBJECTS}
        try:
            self._ray.init(
                address=address or "local",
                namespace=_OWN,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": told},
                **own,
            )
        except Exception as error:  # of many kinds; a bare one where its own processes do not start in time
            said = str(error).partition("\n")[0].rstrip(".")
            raise ByTheWayError(f"Ray cannot be reached at {address or 'this machine'}: {said}.") from error


class _Worker:
    """What an actor is: a maker, and what went wrong said as data, since an error need not fit through a pickle."""

    def __init__(self, choice: ModelChoice, place: str, threads: int, board: Any, number: int) -> None:
        self._choice, self._place, self._threads = choice, place, threads
        self._board, self._number, self._told = board, number, 0.0

    def load(self) -> Facts | Failure:
        """Load the model; once, before anything else is called."""
        try:
            import torch

            torch.set_num_threads(self._threads)
            self._maker = Maker(self._choice, open_store(self._place))
            return self._maker.facts()
        except ByTheWayError as error:
            return Failure(str(error), is_final=True)
        except Exception as error:
            return Failure(f"The model cannot be loaded: {type(error).__name__}: {error}")

    def make(self, batch: Batch) -> Made | Failure:
        return self._maker.make(batch, self._tell)

    def _tell(self, steps: Steps) -> None:
        if time.monotonic() - self._told >= _LOOK:
            self._told = time.monotonic()
            self._board.tell.remote(self._number, steps)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _everywhere(place: str) -> str:
    return place if "://" in place else os.path.abspath(place)


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ByTheWayError(
            "Several workers and clusters need Ray, which is not installed: pip install ray; without it, --shard I/N "
            "divides the work between processes."
        ) from error
    return ray
