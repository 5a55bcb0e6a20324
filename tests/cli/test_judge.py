"""`bytheway judge`, asking a server over HTTP: reported, gone on with after a kill, and limited."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.responses import JSONResponse
from typer.testing import Result

from bytheway.evaluation.votes.prepare import Wanted, prepare
from bytheway.evaluation.votes.store import opened
from bytheway.evaluation.votes.vote import Vote
from tests.toys.chat_server import ChatServer, Sent, always_a, chat_server, completion, prefers_brighter
from tests.toys.grey_experiments import PROMPTS, write_experiment

Command = Callable[..., Result]
ROOT = Path(__file__).parents[2]
QUALITY = ["--questions", "video_quality"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("bytheway.evaluation.judge.endpoint.RETRIES", 0)
    with chat_server() as running:
        yield running


@pytest.fixture
def judge(bytheway: Command, server: ChatServer) -> Command:
    """Runs `bytheway judge trial` with the server."""
    return lambda *arguments: bytheway("judge", "trial", "--endpoint", server.url, "--model", "judge-1", *arguments)


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert said in result.stderr.strip().splitlines()[-1]
    assert result.stderr.count("Error:") == 1
    assert "Traceback" not in result.output


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines() if "\t" in line]


def test_verdicts_are_told_and_written(judge: Command, server: ChatServer) -> None:
    server.respond = prefers_brighter
    prompts = tuple(f"prompt {n} <b>" for n in range(7))
    write_experiment(Path("trial"), prompts, arms="vanilla,enhanced,freeinit")
    result = judge("--price-in", 2, "--price-out", 10, "--frames", 4)
    assert result.exit_code == 0, (result.output, result.exception)
    assert len(server.sent) == 2 * 7 * 3 * 2
    assert all(len(sent.images()) == 8 for sent in server.sent)
    table = rows(result.stdout)
    assert table[1] == [
        "video_quality",
        "0.0000",
        "1.0000",
        "+1.0000",
        "+1.0000 to +1.0000",
        "7",
        "0",
        "0",
        "0.016",
        "enhanced",
    ]
    assert table[-1][:3] == ["motion_consistency", "freeinit", "1.0000 [0.6457 to 1.0000]"]
    assert table[-1][3].startswith("0.5000 [")
    assert table[-1][4:] == ["0.0000 [0.0000 to 0.3543]", "0", "0"]
    assert "Now 84 calls, 84000 tokens in, 1680 out, cost 0.1848." in result.stderr
    found = json.loads(Path("trial/judge.json").read_text())
    assert (found["model"], found["endpoint"], found["frames"], found["detail"]) == ("judge-1", server.url, 4, "low")
    assert found["spent"]["calls"] == 84
    assert found["spent"]["cost"] == pytest.approx(0.1848)
    assert [one["second"] for one in found["comparisons"]] == ["enhanced", "freeinit"]
    assert found["comparisons"][1]["figures"]["video_quality"]["decided"]["value"] == 1
    assert len(found["judgements"]) == 2 * 7 * 3
    assert found["judgements"][0] == {
        "prompt": prompts[0],
        "seed_index": 0,
        "arms": ["vanilla", "enhanced"],
        "question": "video_quality",
        "verdict": "enhanced",
        "answers": ["B", "A"],
        "reasons": ["It is better.", "It is better."],
        "answered": True,
    }
    page = Path("trial/judge.html").read_text()
    assert page.count('class="card"') == 7
    assert page.count('class="strip"') == 21
    assert "judged by judge-1, which saw 4 frames of each clip" in page
    said = (
        "Video quality, enhanced against vanilla: enhanced; with vanilla as A: B, “It is better.”; with enhanced as A"
    )
    assert page.count(said) == 7
    assert "prompt 0 &lt;b&gt;" in page
    assert "prompt 0 <b>" not in page


def test_some_arms_and_questions(judge: Command, server: ChatServer) -> None:
    write_experiment(Path("trial"), arms="vanilla,enhanced,freeinit", seeds=3)
    result = judge("--arm", "freeinit", *QUALITY, "--pairs", 2)
    assert result.exit_code == 0, result.output
    assert len(server.sent) == 4
    assert {tuple(row[:2]) for row in rows(result.stdout)[3:]} == {("video_quality", "freeinit")}


def test_the_environment_names_the_endpoint_and_the_key(
    bytheway: Command, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    write_experiment(Path("trial"), PROMPTS[:1])
    assert bytheway("judge", "trial", "--model", "judge-1", *QUALITY).exit_code == 0
    assert [sent.headers["authorization"] for sent in server.sent] == ["Bearer sk-of-mine"] * 2
    assert not [path for path in Path("trial").rglob("*") if path.is_file() and b"sk-of-mine" in path.read_bytes()]


def test_a_dry_run_counts_and_spends_nothing(judge: Command, server: ChatServer) -> None:
    write_experiment(Path("trial"))
    before = sorted(Path("trial").rglob("*"))
    result = judge("--dry-run", "--price-in", 2, "--price-out", 10)
    assert result.exit_code == 0, result.output
    counted = dict(line.split(": ") for line in result.stdout.splitlines())
    assert {name: counted[name] for name in ("pairs", "calls", "calls answered already", "images")} == {
        "pairs": "2",
        "calls": "12",
        "calls answered already": "0",
        "images": "192",
    }
    assert 192 * 85 < int(counted["tokens in, about"]) < 192 * 85 + 12 * 800
    tokens = int(counted["tokens in, about"]) * 2 + int(counted["tokens out, about"]) * 10
    assert float(counted["cost, about"]) == pytest.approx(tokens / 1e6, rel=1e-3)
    assert (server.sent, sorted(Path("trial").rglob("*"))) == ([], before)
    judge(*QUALITY)
    counted = dict(line.split(": ") for line in judge("--dry-run").stdout.splitlines())
    assert (counted["calls"], counted["calls answered already"]) == ("8", "4")
    assert len(server.sent) == 4


def test_the_limit_ends_a_run_with_a_sentence(judge: Command, server: ChatServer) -> None:
    server.respond = lambda sent: completion(always_a(sent)["choices"][0]["message"]["content"], usage=(20_000, 50))
    write_experiment(Path("trial"))
    prices = ["--price-in", 2, "--price-out", 10]
    result = judge(*QUALITY, *prices, "--max-cost", 0.11)
    refused(result, "raise the limit of 0.11 to go on.")
    assert len(server.sent) == 2
    assert [row[-2:] for row in rows(result.stdout)[3:]] == [["0", "1"]], "what is there is told; one pair is missing"
    assert judge(*QUALITY, *prices, "--max-cost", 1).exit_code == 0
    assert len(server.sent) == 4


def test_people_are_set_beside_the_judge(judge: Command, server: ChatServer) -> None:
    """They prefer what is darker on one of two pairs, and what is brighter, as the judge does, on the other."""
    server.respond = prefers_brighter
    experiment = write_experiment(Path("trial"))
    assert "kappa" not in judge(*QUALITY).stdout
    with opened(experiment.folder) as store:
        study = store.study_or(lambda clips: prepare(experiment, clips, Wanted(), 0)[0])
        person = store.number_of(store.join(study))
        assert person is not None
        for _ in range(study.items_each):
            shown = store.open_items(person, study)[0]
            pair = study.all_pairs[shown.item.pair]
            wanted = "first" if pair.altered or pair.prompt == PROMPTS[0] else "second"
            side = "left" if (wanted == "first") != shown.item.swapped else "right"
            for question in study.questions:
                store.vote(person, Vote(shown.id, question, side, 2.5, 1, 0, (800, 600)), study)
    result = judge(*QUALITY)
    assert result.exit_code == 0, (result.output, result.exception)
    table = rows(result.stdout)
    assert table[-2] == ["question", "arm", "pairs", "as people say", "without ties", "kappa"]
    assert table[-1][:3] == ["video_quality", "enhanced", "2"]
    assert [cell.split()[0] for cell in table[-1][3:]] == ["0.5000", "0.5000", "0.0000"]
    found = json.loads(Path("trial/judge.json").read_text())
    assert found["comparisons"][0]["figures"]["video_quality"]["agreement"]["with_ties"]["value"] == 0.5
    assert "as people say" in Path("trial/judge.html").read_text()


def test_prose_only(judge: Command, server: ChatServer) -> None:
    server.respond = lambda sent: completion("I think the first one.")
    write_experiment(Path("trial"))
    result = judge(*QUALITY)
    assert result.exit_code == 0, (result.output, result.exception)
    assert rows(result.stdout)[-1][-2:] == ["2", "0"]
    assert len(server.sent) == 8
    assert not Path("trial/judge.html").exists(), "there is nothing to order clips by"
    assert len(json.loads(Path("trial/judge.json").read_text())["judgements"]) == 2


def test_an_endpoint_that_is_down(judge: Command, bytheway: Command, server: ChatServer, monkeypatch: Any) -> None:
    write_experiment(Path("trial"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    result = bytheway("judge", "trial", "--endpoint", "http://127.0.0.1:9/v1", "--model", "judge-1")
    refused(result, "http://127.0.0.1:9/v1 cannot be reached (")
    assert result.stdout == ""
    assert "sk-secret" not in result.output
    assert not Path("trial/judge.json").exists()


def test_calls_without_an_answer_are_named(judge: Command, server: ChatServer) -> None:
    replies = iter([JSONResponse({"error": {"message": "busy"}}, 503)])
    server.respond = lambda sent: next(replies, always_a(sent))
    write_experiment(Path("trial"))
    result = judge(*QUALITY, "--concurrency", 1)
    refused(result, "One call got no answer since http://127.0.0.1:")
    assert "busy" in result.stderr
    assert rows(result.stdout)[-1][-2:] == ["0", "1"]
    assert judge(*QUALITY).exit_code == 0
    assert len(server.sent) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-cost", 1], "requires the prices of a million tokens (--price-in)."),
        (["--price-in", 1], "Give both prices, --price-in and --price-out, or none."),
        (["--questions", "beauty"], "There is no question 'beauty'"),
        (["--arm", "vanilla"], "There is no arm 'vanilla' to set against vanilla; there are enhanced."),
        (["--endpoint", "localhost:8000"], "The endpoint is no URL such as http://localhost:8000/v1 (--endpoint)."),
        (
            ["--endpoint", ""],
            "OpenAI's server requires a key; set OPENAI_API_KEY, or name another endpoint (--endpoint).",
        ),
    ],
)
def test_what_cannot_be(judge: Command, server: ChatServer, arguments: list[object], said: str) -> None:
    write_experiment(Path("trial"), PROMPTS[:1])
    refused(judge(*arguments), said)
    assert server.sent == []


def test_what_is_no_experiment(judge: Command) -> None:
    refused(judge(), "trial holds no experiment; make one with `bytheway evaluate`.")


def process(folder: Path, server: ChatServer) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "bytheway", "judge", "trial", "--endpoint", server.url, "--model", "judge-1"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_answer_is_never_paid_for_twice(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: signal.Signals
) -> None:
    """Ended after five of twelve answers, with four calls on their way, which only a kill loses."""
    monkeypatch.chdir(tmp_path)
    write_experiment(Path("trial"))
    more = Event()
    begun: list[Sent] = []

    def respond(sent: Sent) -> Any:
        begun.append(sent)
        if len(begun) > 5:
            more.wait()
        return always_a(sent)

    server.respond = respond
    running = process(tmp_path, server)
    kept = Path("trial/judge.jsonl")
    while len(begun) < 5 + 4 or not kept.exists() or len(kept.read_text().splitlines()) < 5:
        assert running.poll() is None
        time.sleep(0.05)
    os.kill(running.pid, ending)
    if ending == signal.SIGINT:
        more.set()  # it waits for the calls that are on their way, and keeps what they say
    else:
        running.wait()
        paid = [sent.body for sent in server.answered]
        assert len(paid) == 5
    code = running.wait()
    assert code == {signal.SIGKILL: -9, signal.SIGINT: 130}[ending]
    answered = [json.loads(line)["key"] for line in kept.read_text().splitlines()]
    assert len(answered) == (5 if ending == signal.SIGKILL else 9)
    more.set()
    while len(server.answered) < len(server.sent):
        time.sleep(0.05)
    before = len(server.sent)
    assert process(tmp_path, server).wait() == 0
    assert len(server.sent) - before == 12 - len(answered)
    again = [json.loads(line)["key"] for line in kept.read_text().splitlines()]
    assert again[: len(answered)] == answered
    assert len(set(again)) == len(again) == 12
    if ending == signal.SIGKILL:
        assert all(sent.body not in paid for sent in server.sent[before:])
