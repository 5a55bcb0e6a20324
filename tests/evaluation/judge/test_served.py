"""A judge that is a model in a server of somebody else's: `transformers serve`, over HTTP, with real images."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner, Result

from bytheway.cli import app
from tests.toys.grey_experiments import write_experiment
from tests.toys.tiny_vision import save_vision_model

ALWAYS_A = '{"reason": "It comes first.", "answer": "A"}'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the server, which loads a model by its folder."""
    home = tmp_path_factory.mktemp("hub")
    (home / "hub").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--port", str(port), "--device", "cpu"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://localhost:{port}"
    try:
        while not _is_up(url):
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.2)
        yield f"{url}/v1"
    finally:
        server.kill()
        server.wait()


def _is_up(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture
def judge_with(served: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Judges an experiment of two prompts with the model in a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    write_experiment(tmp_path / "trial")

    def run(model: Path, *arguments: object) -> Result:
        command = ["judge", "trial", "--endpoint", served, "--model", model, *arguments]
        return CliRunner().invoke(app, list(map(str, command)))

    return run


def test_a_judge_that_always_says_a_comes_out_as_ties(judge_with: Callable[..., Result], tmp_path: Path) -> None:
    result = judge_with(save_vision_model(tmp_path / "model", ALWAYS_A), "--questions", "video_quality")
    assert result.exit_code == 0, (result.output, result.exception)
    lines = [json.loads(line) for line in Path("trial/judge.jsonl").read_text().splitlines()]
    assert [line["reply"] for line in lines] == [ALWAYS_A] * 4
    assert {line["answer"] for line in lines} == {"A"}
    assert all(line["tokens_in"] > 16 * 4 for line in lines), "four tokens for each of 16 images, and the text"
    found = json.loads(Path("trial/judge.json").read_text())
    assert {one["verdict"] for one in found["judgements"]} == {"tie"}
    outcomes = found["comparisons"][0]["measures"]["video_quality"]["outcomes"]
    assert (outcomes["wins"], outcomes["ties"], outcomes["losses"]) == (0, 2, 0)
    figures = found["comparisons"][0]["figures"]["video_quality"]
    assert (figures["first_place"]["value"], figures["changed"]["value"], figures["decided"]["value"]) == (1, 1, None)


def test_prose_is_no_verdict(judge_with: Callable[..., Result], tmp_path: Path) -> None:
    """All logits are equal: the model says A, and A, and A, which is no JSON, so it says nothing."""
    result = judge_with(save_vision_model(tmp_path / "model", None), "--questions", "video_quality", "--max-tokens", 12)
    assert result.exit_code == 0, (result.output, result.exception)
    lines = [json.loads(line) for line in Path("trial/judge.jsonl").read_text().splitlines()]
    assert [line["reply"] for line in lines] == ["A" * 12] * 8, "two pairs, two orders, with and without a schema"
    assert sorted("response_format" in line["request"] for line in lines) == [False] * 4 + [True] * 4
    found = json.loads(Path("trial/judge.json").read_text())
    assert [one["verdict"] for one in found["judgements"]] == [None, None]
    assert found["comparisons"][0]["figures"]["video_quality"]["no_verdict"] == 2
    assert judge_with(tmp_path / "model", "--questions", "video_quality", "--max-tokens", 12).exit_code == 0
    assert len(Path("trial/judge.jsonl").read_text().splitlines()) == 8, "what gives no verdict is not asked again"
