"""The journal: what two drivers on one place write beside the clips."""

import json
from collections.abc import Callable
from pathlib import Path

from bytheway.batch.journal import FAILURES, Journal
from bytheway.batch.plan import Plan, Shard
from bytheway.batch.store import open_store


def test_failures_of_two_drivers_at_once_are_all_there(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    store = open_store(str(tmp_path))
    first, second = (batch.tasks[0] for batch in plan_of(["a", "b"]).batches())
    with Journal(store, Shard()) as one, Journal(store, Shard()) as other:
        one.failed(first, 3, "Not so.")
        other.failed(second, 3, "Not so.")
    lines = [json.loads(line) for path in (tmp_path / FAILURES).iterdir() for line in path.read_text().splitlines()]
    assert sorted(line["prompt"] for line in lines) == ["a", "b"]
