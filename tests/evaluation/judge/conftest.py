"""A server that judges, and what it takes to ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.judge.budget import Budget, Prices
from bytheway.evaluation.judge.endpoint import Endpoint
from bytheway.evaluation.judge.run import Asked, Choice, Run, arms_of, pairs_of
from bytheway.evaluation.judge.store import Store
from bytheway.evaluation.judge.summary import Judgement, judgements
from bytheway.evaluation.questions import QUESTIONS, Question
from tests.toys.chat_server import ChatServer, chat_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """Says A to everything, unless told otherwise. A call is tried once."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("bytheway.evaluation.judge.endpoint.RETRIES", 0)
    with chat_server() as running:
        yield running


@pytest.fixture
def ask(server: ChatServer, tmp_path: Path) -> Callable[..., tuple[Asked, list[Judgement]]]:
    """Asks the server about an experiment; what it said is kept in `calls.jsonl`."""

    def asked(
        experiment: Experiment,
        *,
        model: str = "judge-1",
        questions: Sequence[Question] = QUESTIONS[:1],
        frames: int = 8,
        max_tokens: int = 50,
        number: int | None = None,
        prices: Prices | None = None,
        most: float | None = None,
        concurrency: int = 1,
    ) -> tuple[Asked, list[Judgement]]:
        choice = Choice(model, tuple(questions), frames, "low", max_tokens)
        store = Store(tmp_path / "calls.jsonl")
        budget = Budget(prices, most, max_tokens, store.lines)
        pairs, _ = pairs_of(experiment, arms_of(experiment, None), number)
        with Endpoint(server.url, max_tokens=max_tokens) as endpoint:
            found = Run(choice, endpoint, store, budget, concurrency, lambda: None).ask(pairs)
        return found, judgements(found, store, max_tokens)

    return asked
