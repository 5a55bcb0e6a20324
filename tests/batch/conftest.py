"""A model's facts, rows and batches for tests that need no model."""

from collections.abc import Callable

import pytest

from bytheway.batch.plan import Facts, Plan, Shard, Sweep
from bytheway.batch.rows import Row
from bytheway.config import ByTheWayConfig
from bytheway.evaluation.experiment.arms import Arm, parse_arm

FACTS = Facts("0123456789abcdef", "float32", ByTheWayConfig().to_dict(), 16, 64, 64, 25, 2.0, 8.0, "Toy", "toy", None)


@pytest.fixture
def facts() -> Facts:
    return FACTS


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """A plan of prompts, or of rows."""

    def plan(
        rows: list[str | Row], *, arms: str = "enhanced", seeds: int = 1, batch_size: int = 1, shard: str = "1/1"
    ) -> Plan:
        ready = [row if isinstance(row, Row) else Row("here", row) for row in rows]
        ways: tuple[Arm, ...] = tuple(parse_arm(name) for name in arms.split(","))
        sweep = Sweep(ways, seeds)
        return Plan(lambda: iter(ready), sweep, FACTS, batch_size=batch_size, shard=Shard.parse(shard))

    return plan
