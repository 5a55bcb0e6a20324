"""What is asked of Ray, and what is made of its answers; Ray itself is another's (`test_farm`)."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bytheway.batch import farm
from bytheway.batch.board import Steps
from bytheway.batch.farm import RayPool
from bytheway.batch.maker import Failure, Made
from bytheway.batch.plan import Batch, Facts, Plan
from bytheway.batch.pool import Answered, Lost, Ready, Recalled
from bytheway.errors import ByTheWayError
from bytheway.models.choice import ModelChoice

CHOICE = ModelChoice("diorama", None, (), None, None)


class RayError(Exception):
    pass


class TaskCancelledError(RayError):
    pass


class Call:
    """What a method of an actor gives: an answer that comes when it is put here."""

    def __init__(self) -> None:
        self.answer: Any = None


class Ray:
    """As much of Ray as a pool needs, which notes what it is asked for."""

    def __init__(self, resources: dict[str, float]) -> None:
        self.exceptions = SimpleNamespace(RayError=RayError, TaskCancelledError=TaskCancelledError)
        self.resources = resources
        self.asked: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.arguments: tuple[Any, ...] = ()
        self.calls: list[Call] = []
        self.looks: list[Call] = []
        self.killed: list[Any] = []
        self.cancelled: list[Call] = []
        self.is_down = False

    def init(self, **asked: Any) -> None:
        self.asked = asked

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **options: Any) -> Callable[[type], Any]:
        self.options = options

        def actor(*arguments: Any) -> Any:
            self.arguments = arguments
            methods = {"load": self._call, "make": self._call, "told": self._look}
            return SimpleNamespace(**{name: SimpleNamespace(remote=method) for name, method in methods.items()})

        return lambda kind: SimpleNamespace(remote=actor)

    def _call(self, *_: Any) -> Call:
        self.calls.append(Call())
        return self.calls[-1]

    def _look(self) -> Call:
        self.looks.append(Call())
        return self.looks[-1]

    def wait(self, calls: list[Call], num_returns: int, timeout: float) -> tuple[list[Call], list[Call]]:
        done = [call for call in calls if call.answer is not None][:num_returns]
        return done, [call for call in calls if call not in done]

    def get(self, call: Call) -> Any:
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def cancel(self, call: Call) -> None:
        self.cancelled.append(call)

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def shutdown(self) -> None:
        self.is_down = True


@pytest.fixture
def pool_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[RayPool, Ray]]:
    def pool(
        resources: dict[str, float],
        *,
        address: str | None = None,
        workers: int | None = None,
        gpus: float | None = None,
        cpus: int = 1,
    ) -> tuple[RayPool, Ray]:
        ray = Ray(resources)
        monkeypatch.setattr(farm, "_ray", lambda: ray)
        return RayPool(CHOICE, "out", address=address, workers=workers, gpus=gpus, cpus=cpus), ray

    return pool


def test_an_actor_makes_one_batch_at_a_time_and_is_not_restarted(pool_on: Callable[..., tuple[RayPool, Ray]]) -> None:
    """Two at once go through one scheduler; and while Ray restarts an actor, calls to it fail at once."""
    pool, ray = pool_on({"CPU": 8.0, "GPU": 2.0}, workers=2)
    pool.hire()
    assert ray.options == {
        "num_cpus": 1,
        "num_gpus": 1.0,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": 1,
    }


def test_a_local_ray_stays_small_and_quiet(
    pool_on: Callable[..., tuple[RayPool, Ray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://here")
    monkeypatch.setenv("FSSPEC_S3", "{}")
    monkeypatch.setenv("SECRET", "mine")
    _, ray = pool_on({"CPU": 4.0}, workers=4)
    assert ray.asked["address"] == "local"
    assert ray.asked["include_dashboard"] is False
    assert ray.asked["log_to_driver"] is False
    assert ray.asked["object_store_memory"] <= 100 * 2**20
    told = ray.asked["runtime_env"]["env_vars"]
    assert told["AWS_ENDPOINT_URL"] == "http://here"
    assert told["FSSPEC_S3"] == "{}"
    assert "SECRET" not in told


def test_a_job_with_such_variables_of_its_own_is_no_conflict(
    pool_on: Callable[..., tuple[RayPool, Ray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray refuses two environments with one name in both, unless it is told that the later holds."""
    monkeypatch.setenv("RAY_OVERRIDE_JOB_RUNTIME_ENV", "")  # so that it is put back
    monkeypatch.delenv("RAY_OVERRIDE_JOB_RUNTIME_ENV")
    pool_on({"CPU": 4.0}, address="auto")
    assert os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] == "1"


@pytest.mark.parametrize(
    ("resources", "gpus", "cpus", "size", "share"),
    [
        ({"CPU": 8.0}, None, 1, 8, 0.0),
        ({"CPU": 8.0}, None, 3, 2, 0.0),
        ({"CPU": 8.0, "GPU": 2.0}, None, 1, 2, 1.0),
        ({"CPU": 8.0, "GPU": 2.0}, 0.5, 1, 4, 0.5),
        ({"CPU": 8.0, "GPU": 2.0}, 0.0, 1, 8, 0.0),
    ],
)
def test_there_are_as_many_workers_as_there_is_room_for(
    pool_on: Callable[..., tuple[RayPool, Ray]],
    resources: dict[str, float],
    gpus: float | None,
    cpus: int,
    size: int,
    share: float,
) -> None:
    pool, ray = pool_on(resources, address="auto", gpus=gpus, cpus=cpus)
    pool.hire()
    assert pool.size == size
    assert ray.options["num_gpus"] == share
    assert ray.arguments[:3] == (CHOICE, str(Path("out").absolute()), cpus)


@pytest.mark.parametrize("kind", [ConnectionError, Exception])
def test_a_ray_that_does_not_start_is_said(
    pool_on: Callable[..., tuple[RayPool, Ray]], monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """On a busy machine it gives up after half a minute, with an exception of no kind."""

    def fail(ray: Ray, **asked: Any) -> None:
        raise kind("It timed out.\nMore.")

    monkeypatch.setattr(Ray, "init", fail)
    with pytest.raises(ByTheWayError, match=r"^Ray cannot be reached at this machine: It timed out\.$"):
        pool_on({"CPU": 4.0})


def test_no_room_for_any_worker_is_said(pool_on: Callable[..., tuple[RayPool, Ray]]) -> None:
    with pytest.raises(ByTheWayError, match="No machine has room for a worker of 4 CPUs"):
        pool_on({"CPU": 2.0}, address="auto", cpus=4)


def test_what_is_heard_of_workers(
    pool_on: Callable[..., tuple[RayPool, Ray]], plan_of: Callable[..., Plan], facts: Facts
) -> None:
    pool, ray = pool_on({"CPU": 2.0}, workers=1)
    assert pool.wait(0) == []
    pool.hire()
    assert pool.wait(0) == []
    ray.calls[0].answer = facts
    assert pool.wait(0) == [Ready(0, facts)]
    first, second, third = list(plan_of(["a", "b", "c"]).batches())
    for batch in (first, second, third):
        pool.send(0, batch)
    made, failure = Made(({},), (True,)), Failure("Not so.")
    ray.calls[1].answer = made
    assert pool.wait(0) == [Answered(0, first, made)]
    pool.recall(0)
    assert ray.cancelled == [ray.calls[3]]
    ray.calls[2].answer, ray.calls[3].answer = failure, TaskCancelledError()
    assert pool.wait(0) == [Answered(0, second, failure), Recalled(0, third)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time for what is in `farm`."""
    now = [100.0]
    monkeypatch.setattr(farm, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_the_board_is_looked_at_once_a_second(pool_on: Callable[..., tuple[RayPool, Ray]], clock: list[float]) -> None:
    pool, ray = pool_on({"CPU": 2.0}, workers=1)
    said: list[Any] = []
    pool.watch(said.append)
    pool.wait(0)
    pool.wait(0)
    assert said == []
    ray.looks[0].answer = {0: Steps(3, 25)}
    pool.wait(0)
    pool.wait(0)
    assert said == [{0: Steps(3, 25)}]
    assert len(ray.looks) == 1
    clock[0] += 1
    pool.wait(0)
    ray.looks[1].answer = RayError("The node with the board is gone.")
    assert pool.wait(0) == []
    assert len(said) == 1


def test_a_worker_writes_at_most_once_a_second(clock: list[float]) -> None:
    told: list[Any] = []
    board = SimpleNamespace(tell=SimpleNamespace(remote=lambda *what: told.append(what)))
    worker = farm._Worker(CHOICE, "out", 1, board, 7)

    def make(batch: Any, on_steps: Callable[[Steps], None]) -> Made:
        for done in range(5):
            on_steps(Steps(done, 4))
            clock[0] += 0.5
        return Made((), ())

    worker._maker = SimpleNamespace(make=make)  # type: ignore[assignment]
    worker.make(Batch(()))
    assert told == [(7, Steps(done, 4)) for done in (0, 2, 4)]


def test_a_worker_that_is_gone_is_told_of_once(
    pool_on: Callable[..., tuple[RayPool, Ray]], plan_of: Callable[..., Plan], facts: Facts
) -> None:
    pool, ray = pool_on({"CPU": 2.0}, workers=1)
    pool.hire()
    ray.calls[0].answer = facts
    pool.wait(0)
    batches: list[Batch] = list(plan_of(["a", "b"]).batches())
    for batch in batches:
        pool.send(0, batch)
    ray.calls[1].answer = ray.calls[2].answer = RayError("\nThe actor died.\nA long story.")
    assert pool.wait(0) == [Lost(0, "The actor died.")]
    assert len(ray.killed) == 1
    assert pool.wait(0) == []


def test_a_model_that_cannot_be_loaded_is_final_where_the_user_is_at_fault(
    pool_on: Callable[..., tuple[RayPool, Ray]],
) -> None:
    pool, ray = pool_on({"CPU": 2.0}, workers=2)
    pool.hire()
    pool.hire()
    ray.calls[0].answer = Failure("There is no such model.", is_final=True)
    ray.calls[1].answer = RayError("The node is gone.")
    assert pool.wait(0) == [Lost(0, "There is no such model.", is_final=True), Lost(1, "The node is gone.")]
    pool.close()
    assert ray.is_down
