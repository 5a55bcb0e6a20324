"""Workers on one machine or many, as actors of Ray: one model each, loaded once, on a device or a share of one.

Ray is asked for little. It places actors, tells when one is gone, and carries batches and names; clips never go through
it. It restarts nothing, for a call to an actor that is being restarted fails at once and would count as an attempt:
whoever is lost is replaced by the driver.
"""

from __future__ import annotations

import math
import os
from itertools import count
from typing import Any, Final

from bytheway.batch.maker import Failure, Made, Maker
from bytheway.batch.plan import Batch, Facts
from bytheway.batch.pool import Answered, Event, Lost, Ready, Recalled
from bytheway.batch.store import open_store
from bytheway.errors import ByTheWayError
from bytheway.models.choice import ModelChoice

_TOLD: Final = ("AWS_", "FSSPEC_")  # begin the names of variables that workers need to reach an object store
_OWN: Final = "bytheway"  # namespace


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
        self._recalled: set[Any] = set()

    def hire(self) -> None:
        worker = next(self._numbers)
        kind = self._ray.remote(
            num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0, max_task_retries=0, max_concurrency=1
        )(_Worker)
        actor = kind.remote(self._choice, self._place, self._cpus)
        self._actors[worker] = actor
        self._hired[actor.facts.remote()] = worker

    def send(self, worker: int, batch: Batch) -> None:
        self._calls[self._actors[worker].make.remote(batch)] = worker, batch

    def recall(self, worker: int) -> None:
        """The first call is at work; Ray ends those that are not begun."""
        for call in [call for call, (its, _) in self._calls.items() if its == worker][1:]:
            self._ray.cancel(call)
            self._recalled.add(call)

    def drop(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        self._calls = {call: it for call, it in self._calls.items() if it[0] != worker}
        self._hired = {call: its for call, its in self._hired.items() if its != worker}
        if actor is not None:
            self._ray.kill(actor)

    def wait(self, seconds: float) -> list[Event]:
        calls = [*self._hired, *self._calls]
        if not calls:
            return []
        done, rest = self._ray.wait(calls, num_returns=1, timeout=seconds)
        if done and rest:
            done += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        events: list[Event] = []
        gone: dict[int, Lost] = {}
        for call in done:
            worker = self._hired.get(call, self._calls.get(call, (-1, None))[0])
            try:
                answer = self._ray.get(call)
            except self._ray.exceptions.TaskCancelledError:
                events.append(Recalled(worker, self._calls.pop(call)[1]))
            except self._ray.exceptions.RayError as error:
                gone[worker] = _lost(worker, error)
            else:
                events.append(self._heard(call, worker, answer))
        for worker in gone:
            self.drop(worker)
        return events + list(gone.values())

    def close(self) -> None:
        self._ray.shutdown()

    def _heard(self, call: Any, worker: int, answer: Facts | Made | Failure) -> Event:
        if isinstance(answer, Facts):
            del self._hired[call]
            return Ready(worker, answer)
        return Answered(worker, self._calls.pop(call)[1], answer)

    def _connect(self, address: str | None, workers: int | None, cpus: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        told = {name: value for name, value in os.environ.items() if name.startswith(_TOLD)}
        own = {} if address is not None else {"num_cpus": max((workers or 1) * cpus, os.cpu_count() or 1)}
        try:
            self._ray.init(
                address=address or "local",
                namespace=_OWN,
                include_dashboard=None if address is not None else False,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": told},
                **own,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            said = str(error).partition("\n")[0]
            raise ByTheWayError(f"Ray cannot be reached at {address or 'this machine'}: {said}.") from error


class _Worker:
    """What an actor is: a maker that begins by loading its model."""

    def __init__(self, choice: ModelChoice, place: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._maker = Maker(choice, open_store(place))

    def facts(self) -> Facts:
        return self._maker.facts()

    def make(self, batch: Batch) -> Made | Failure:
        return self._maker.make(batch)


def _lost(worker: int, error: Exception) -> Lost:
    """What is known of a worker that is gone; its model that cannot be loaded is an error of its own."""
    cause = error.__cause__ or error
    for one in (error, cause, getattr(error, "cause", None)):
        if isinstance(one, ByTheWayError):
            return Lost(worker, str(one), is_final=True)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return Lost(worker, lines[0] if lines else type(error).__name__)


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
