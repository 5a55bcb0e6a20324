"""What servers do instead of answering, and that the key stays where it is."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.judge import endpoint as room
from bytheway.evaluation.judge.endpoint import Endpoint, public_url
from bytheway.evaluation.judge.run import Asked
from bytheway.evaluation.judge.summary import Judgement
from tests.toys.chat_server import ChatServer, Sent, always_a, answer, completion
from tests.toys.grey_experiments import PROMPTS, write_experiment

Ask = Callable[..., tuple[Asked, list[Judgement]]]
SECRET = "sk-do-not-tell-1234567890"
VALID = answer("A")


@pytest.fixture
def one(tmp_path: Path) -> Experiment:
    """One pair: two calls, one in each order."""
    return write_experiment(tmp_path / "trial", PROMPTS[:1])


def each(replies: Sequence[Any]) -> Callable[[Sent], Any]:
    """Replies one after the other; the last one from there on."""
    left: Iterator[Any] = iter(replies)
    last: list[Any] = [None]

    def respond(sent: Sent) -> Any:
        last[0] = next(left, last[0])
        return last[0] if isinstance(last[0], Response) or not callable(last[0]) else last[0](sent)

    return respond


def error(status: int, message: str = "not now", headers: dict[str, str] | None = None, **more: Any) -> Response:
    return JSONResponse({"error": {"message": message, **more}}, status, headers)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "failure",
    [error(500), error(429, headers={"retry-after": "0.1"}), error(503), error(408)],
    ids=lambda r: r.status_code,
)
def test_a_server_that_is_busy_is_asked_again(
    ask: Ask, server: ChatServer, one: Experiment, failure: Response, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(room, "RETRIES", 1)
    server.respond = each([failure, always_a])
    asked, found = ask(one)
    assert (asked.stopped, asked.unanswered) == (None, [])
    assert len(server.sent) == 3
    assert server.sent[0].body == server.sent[1].body
    assert len(lines(tmp_path)) == 2, "what was not answered was not paid for"
    assert found[0].verdict == "tie"


def test_a_server_says_how_long_to_wait(
    ask: Ask, server: ChatServer, one: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RETRIES", 1)
    times: list[float] = []

    def respond(sent: Sent) -> Any:
        times.append(time.monotonic())
        return error(429, headers={"retry-after": "1.5"}) if len(times) == 1 else always_a(sent)

    server.respond = respond
    ask(one)
    assert times[1] - times[0] >= 1.5, "its own back-off would begin with half a second"


def test_what_got_no_answer_is_asked_by_the_next_run(ask: Ask, server: ChatServer, one: Experiment) -> None:
    server.respond = each([error(500, "out of order"), always_a])
    asked, found = ask(one)
    assert len(asked.unanswered) == 1
    assert "out of order" in asked.unanswered[0]
    assert (found[0].answered, found[0].verdict) == (False, None)
    asked, found = ask(one)
    assert (asked.unanswered, found[0].answered, found[0].verdict) == ([], True, "tie")
    assert len(server.sent) == 3, "the call that was answered is not made again"


def test_a_server_that_takes_too_long(
    ask: Ask, server: ChatServer, one: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "TIMEOUT", 0.3)

    def respond(sent: Sent) -> Any:
        time.sleep(0.6)
        return always_a(sent)

    server.respond = respond
    asked, _ = ask(one)
    assert asked.unanswered == [f"{server.url} did not answer within 0.3 seconds."] * 2


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch, ask: Ask, server: ChatServer, one: Experiment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    asked, found = ask(one)
    assert all(f"{server.url} cannot be reached" in said for said in asked.unanswered)
    assert len(asked.unanswered) == 2
    assert not found[0].answered


@pytest.mark.parametrize(
    "reply",
    [
        Response(b'{"id": "1", "choices": [{"mess', media_type="application/json"),
        Response("<h1>Hello</h1>", media_type="text/html"),
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [{}]},
        {"error": {"message": "not now"}},
        [],
        "A",
    ],
    ids=["cut", "a page", "empty", "no choices", "null choices", "no message", "an error", "a list", "a string"],
)
def test_a_reply_that_is_none(ask: Ask, server: ChatServer, one: Experiment, reply: Any, tmp_path: Path) -> None:
    server.respond = each([reply])
    asked, found = ask(one)
    assert len(asked.unanswered) == 2
    assert all("sent a reply that is" in said for said in asked.unanswered)
    assert (found[0].answered, found[0].verdict) == (False, None)
    assert not (tmp_path / "calls.jsonl").exists()


@pytest.mark.parametrize(
    "text", ["", None, "A", "I prefer A.", VALID[:-3], VALID.replace("}", ', "sure": 1}')], ids=str
)
def test_what_is_no_answer_is_asked_once_more_without_a_schema(
    ask: Ask, server: ChatServer, one: Experiment, text: str | None, tmp_path: Path
) -> None:
    server.respond = lambda sent: completion(text if "response_format" in sent.body else VALID)
    _, found = ask(one)
    assert ["response_format" in sent.body for sent in server.sent] == [True, False] * 2
    assert found[0].verdict == "tie"
    assert [line["answer"] for line in lines(tmp_path)] == [None, "A"] * 2
    assert [line["reply"] for line in lines(tmp_path)] == [text or "", VALID] * 2, "every reply is kept, raw"
    server.respond = always_a
    ask(one)
    assert len(server.sent) == 4


def test_a_cut_reply_is_asked_for_again_only_with_more_room(ask: Ask, server: ChatServer, one: Experiment) -> None:
    server.respond = lambda sent: completion(VALID[:9], finish_reason="length")
    _, found = ask(one)
    assert (found[0].answered, found[0].verdict) == (True, None)
    assert len(server.sent) == 4
    ask(one)
    assert len(server.sent) == 4
    server.respond = always_a
    _, found = ask(one, max_tokens=100)
    assert found[0].verdict == "tie"
    assert len(server.sent) == 6
    ask(one, max_tokens=50)
    ask(one, max_tokens=200)
    assert len(server.sent) == 6


def test_an_answer_without_a_schema_is_enough(ask: Ask, server: ChatServer, one: Experiment) -> None:
    """Also where the reply by the schema was cut, and longer ones are allowed later."""
    server.respond = lambda sent: completion(VALID[:9] if "response_format" in sent.body else VALID, None, "length")
    ask(one)
    _, found = ask(one, max_tokens=500)
    assert (found[0].answered, found[0].verdict, len(server.sent)) == (True, "tie", 4)


def test_settings_that_a_server_refuses_are_left_out(
    ask: Ask, server: ChatServer, one: Experiment, tmp_path: Path
) -> None:
    def respond(sent: Sent) -> Any:
        if "temperature" in sent.body:
            return error(400, "Unsupported value.", param="temperature")
        if "response_format" in sent.body:
            return error(422, "Unexpected fields in the request: {'response_format'}")
        return completion("prose")

    server.respond = respond
    asked, found = ask(one)
    assert (asked.stopped, asked.unanswered) == (None, [])
    assert (found[0].answered, found[0].verdict) == (True, None)
    assert len(server.sent) == 2 + 2, "the second call knows; and none is made again that is the same without a schema"
    assert server.sent[-1].body["seed"] == 0
    assert [line["with_schema"] for line in lines(tmp_path)] == [False, False]
    assert [sorted(line["sent"]) for line in lines(tmp_path)] == [["max_tokens", "messages", "model", "seed"]] * 2
    ask(one)
    assert len(server.sent) == 4


def test_the_length_of_a_reply_is_limited_by_the_name_that_a_server_knows(
    ask: Ask, server: ChatServer, one: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are never sent, for servers refuse that; and most know one of them and do not mind the other."""
    ask(one)
    assert [sent.body.get("max_tokens") for sent in server.sent] == [50, 50]
    assert all("max_completion_tokens" not in sent.body for sent in server.sent)
    monkeypatch.setattr(room, "_OPENAI_HOST", "127.0.0.1")
    ask(one, model="judge-2")
    assert [sent.body.get("max_completion_tokens") for sent in server.sent[2:]] == [50, 50]
    assert all("max_tokens" not in sent.body for sent in server.sent[2:])


@pytest.mark.parametrize("concurrency", [1, 2])
def test_the_limit_has_its_other_name_where_a_server_refuses_the_first(
    ask: Ask, server: ChatServer, one: Experiment, concurrency: int
) -> None:
    def respond(sent: Sent) -> Any:
        if "max_tokens" in sent.body:
            return error(400, "Unsupported parameter: use 'max_completion_tokens' instead.", param="max_tokens")
        return always_a(sent)

    server.respond = respond
    asked, found = ask(one, concurrency=concurrency)
    assert (asked.unanswered, found[0].verdict) == ([], "tie")
    assert [sent.body["max_completion_tokens"] for sent in server.answered if "max_tokens" not in sent.body] == [50, 50]


def test_a_limit_that_is_refused_by_both_names_is_an_error(ask: Ask, server: ChatServer, one: Experiment) -> None:
    server.respond = each([error(400, "max_tokens or max_completion_tokens is too large")])
    asked, _ = ask(one)
    assert len(asked.unanswered) == 2
    assert "is too large" in asked.unanswered[0]


def test_a_server_that_does_not_heed_the_limit_is_asked_no_further(
    ask: Ask, server: ChatServer, tmp_path: Path
) -> None:
    """The answer is kept, for it was paid for."""
    server.respond = lambda sent: completion(VALID, usage=(1000, 51))
    asked, _ = ask(write_experiment(tmp_path / "trial"))
    assert len(server.sent) == 1
    assert "sent a reply of 51 tokens though 50 were allowed" in (asked.stopped or "")
    assert [line["answer"] for line in lines(tmp_path)] == ["A"]
    asked, _ = ask(write_experiment(tmp_path / "trial"), max_tokens=51)
    assert (asked.stopped, len(server.sent)) == (None, 4)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "refuses the key; set OPENAI_API_KEY"), (403, "refuses"), (404, "mostly ends in /v1")]
)
def test_what_no_call_will_change_ends_the_run(
    ask: Ask, server: ChatServer, tmp_path: Path, status: int, said: str
) -> None:
    server.respond = each([error(status, "no")])
    asked, _ = ask(write_experiment(tmp_path / "trial"))
    assert len(server.sent) == 1
    assert said in (asked.stopped or "")


def test_a_run_ends_when_nothing_is_answered_any_more(ask: Ask, server: ChatServer, tmp_path: Path) -> None:
    server.respond = each([always_a, error(400, "At most 1 image may be provided")])
    asked, _ = ask(write_experiment(tmp_path / "trial", seeds=5))
    assert len(server.sent) == 1 + 4
    assert "4 calls in a row got no answer" in (asked.stopped or "")
    assert "At most 1 image may be provided" in (asked.stopped or "")


def echo(sent: Sent) -> Any:
    return completion(f'{{"reason": "You sent {sent.headers["authorization"]}", "answer": "A"}}', model=SECRET)


@pytest.mark.parametrize(
    "respond",
    [
        echo,
        lambda sent: completion(sent.headers["authorization"]),
        lambda sent: error(500, f"refused: {sent.headers['authorization']}"),
        lambda sent: error(401, f"Incorrect API key provided: {SECRET}"),
        lambda sent: {"error": {"message": SECRET}},
    ],
)
def test_the_key_goes_nowhere(
    ask: Ask,
    server: ChatServer,
    one: Experiment,
    respond: Callable[[Sent], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nor with a server that repeats it, and everything logged."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", f" {SECRET}\n")
    server.respond = respond
    asked, found = ask(one)
    assert server.sent[0].headers["authorization"] == f"Bearer {SECRET}", "it was sent"
    written = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    for text in (*written, caplog.text, str(capfd.readouterr()), repr(asked), repr(found)):
        assert SECRET not in text
    assert "HTTP Request" in caplog.text, "the client did log"


def test_a_reply_is_judged_as_it_came(
    ask: Ask, server: ChatServer, one: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Placeholders for a key can be any word, also one of the answer's."""
    monkeypatch.setenv("OPENAI_API_KEY", "answer")
    _, found = ask(one)
    assert found[0].verdict == "tie"
    assert ask(one)[1][0].verdict == "tie"
    assert len(server.sent) == 2


def test_a_key_that_cannot_be_one_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("sk-ünknown", "sk-one\nsk-two", "sk-one two"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(ByTheWayError) as caught:
            Endpoint("http://localhost:1/v1", max_tokens=1)
        assert str(caught.value) == "OPENAI_API_KEY holds characters that no key has; set it anew."


def test_local_servers_need_no_key_and_openai_does(ask: Ask, server: ChatServer, one: Experiment) -> None:
    ask(one)
    assert SECRET not in server.sent[0].headers["authorization"]
    with pytest.raises(ByTheWayError, match="OpenAI's server requires a key; set OPENAI_API_KEY"):
        Endpoint(None, max_tokens=1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://me:password@example.org/v1/", "https://example.org/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("localhost:8000/v1", None),
        ("ftp://example.org", None),
        ("http://", None),
        ("http://a:b", None),
        ("http://[", None),
    ],
)
def test_urls_are_shown_without_what_is_secret_in_them(url: str, shown: str | None) -> None:
    if shown is not None:
        assert public_url(url) == shown
        return
    with pytest.raises(ByTheWayError, match="The endpoint is no URL such as"):
        public_url(url)


@pytest.mark.parametrize("end", ["?token=abc", "/?token=abc", "#abc"])
def test_a_url_to_which_nothing_can_be_added_is_refused_and_not_repeated(end: str) -> None:
    with pytest.raises(ByTheWayError, match=r"has something after a \? or #; end it before") as caught:
        Endpoint(f"http://localhost:1/v1{end}", max_tokens=1)
    assert "abc" not in str(caught.value)


def test_the_client_is_asked_for_by_name_where_it_is_missing() -> None:
    code = (
        "import sys; sys.modules['openai'] = None\n"
        "from bytheway.evaluation.judge.endpoint import Endpoint\n"
        "import bytheway.cli.judging\n"
        "try: Endpoint('http://localhost:1/v1', max_tokens=1)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        'A judge requires the openai client; install it (pip install -c constraints.txt ".[judge]").\n'
    )
