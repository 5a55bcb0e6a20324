"""What the server answers: to the page, to somebody hostile, and that nothing it says tells the arms."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bytheway.errors import ByTheWayError
from bytheway.evaluation.votes.http import listen
from bytheway.evaluation.votes.server import LARGEST_BODY, app_of
from bytheway.evaluation.votes.store import Store
from bytheway.evaluation.votes.study import Study
from tests.toys.experiments import PROMPTS

AGREED = {"adult": True, "agreed": True}
ARMS = ("vanilla", "enhanced")


@pytest.fixture
def client(store: Store, study: Study) -> Iterator[TestClient]:
    client = TestClient(app_of(store, study), base_url="http://127.0.0.1:8000")
    yield client
    client.close()


@pytest.fixture
def person(client: TestClient) -> dict[str, str]:
    """The header of somebody who has agreed."""
    answer = client.post("api/people", json=AGREED)
    assert answer.status_code == 201
    return {"Person": answer.json()["person"]}


@pytest.fixture
def vote(client: TestClient, person: dict[str, str]) -> dict[str, Any]:
    """A vote on the pair whose turn it is."""
    pair = client.get("api/next", headers=person).json()["pair"]
    return {
        "item": pair["item"],
        "question": "video_quality",
        "answer": "left",
        "watched": 1.25,
        "loops": 2,
        "replays": 0,
        "screen": [390, 844],
    }


def test_a_vote_is_answered_with_what_comes_next(
    client: TestClient, store: Store, study: Study, person: dict[str, str], vote: dict[str, Any]
) -> None:
    before = client.get("api/next", headers=person).json()
    for number, question in enumerate(study.questions):
        answer = client.post("api/votes", json=vote | {"question": question}, headers=person)
        assert answer.status_code == 200
        assert len(store.ballots()) == number + 1, "on disk when it is answered"
    after = answer.json()
    assert after["pair"]["item"] == before["after"]["item"]
    assert (before["pair"]["number"], after["pair"]["number"]) == (1, 2)
    assert client.post("api/votes", json=vote, headers=person).json() == after, "sent again"
    assert len(store.ballots()) == len(study.questions)


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "vanilla"},
        {"answer": ["left"]},
        {"answer": None},
        {"question": "beauty"},
        {"question": {}},
        {"item": 5},
        {"item": "\ud800"},
        {"watched": -1},
        {"watched": 1e9},
        {"watched": "1"},
        {"watched": True},
        {"watched": 10**300},
        {"loops": 0},
        {"loops": 1.5},
        {"loops": True},
        {"loops": -1},
        {"replays": 10**9},
        {"replays": None},
        {"screen": [1]},
        {"screen": "390x844"},
        {"screen": [390, -1]},
        {"screen": [390, 844, 2]},
        {"more": 1},
    ],
)
def test_what_is_no_vote_is_refused(
    client: TestClient, store: Store, person: dict[str, str], vote: dict[str, Any], changes: dict[str, Any]
) -> None:
    headers = person | {"Content-Type": "application/json"}
    answer = client.post("api/votes", content=json.dumps(vote | changes), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")
    assert store.ballots() == []


@pytest.mark.parametrize(
    "body",
    ["", "{", "null", "[]", "5", '"vote"', "\xff", "[" * 4000, '{"watched": NaN}', '{"a": 1e999}', "9" * 4000],
)
def test_bad_json_is_refused(client: TestClient, store: Store, person: dict[str, str], body: str) -> None:
    for path in ("api/votes", "api/people"):
        answer = client.post(
            path, content=body.encode("latin-1"), headers=person | {"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, (path, answer.text)
    assert (store.ballots(), store.people()) == ([], 1)


def test_not_a_number_is_no_time(
    client: TestClient, store: Store, person: dict[str, str], vote: dict[str, Any]
) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        body = json.dumps(vote).replace("1.25", number)
        answer = client.post("api/votes", content=body, headers=person | {"Content-Type": "application/json"})
        assert answer.status_code == 400
    assert store.ballots() == []


def test_large_bodies_are_refused_unread(client: TestClient, person: dict[str, str], vote: dict[str, Any]) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * LARGEST_BODY

    headers = person | {"Content-Type": "application/json"}
    for body in (json.dumps(vote).encode() + b" " * LARGEST_BODY, endless()):
        answer = client.post("api/votes", content=body, headers=headers)
        assert answer.status_code == 413
    assert client.post("api/votes", content=json.dumps(vote), headers=headers).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_forms_of_other_sites_are_refused(
    client: TestClient, store: Store, person: dict[str, str], vote: dict[str, Any], kind: str
) -> None:
    """What a browser sends to another site without asking it first is no JSON by its type."""
    headers = {"Content-Type": kind}
    assert client.post("api/people", content=json.dumps(AGREED), headers=headers).status_code == 415
    assert client.post("api/votes", content=json.dumps(vote), headers=person | headers).status_code == 415
    assert client.options("api/votes", headers={"Origin": "http://evil.example"}).status_code == 405
    assert (store.ballots(), store.people()) == ([], 1)


@pytest.mark.parametrize(
    "agreed", [{}, {"adult": True}, {"adult": True, "agreed": False}, {"adult": 1, "agreed": "no"}]
)
def test_nobody_takes_part_without_having_agreed(client: TestClient, store: Store, agreed: dict[str, Any]) -> None:
    assert client.post("api/people", json=agreed).status_code == 400
    assert store.people() == 0


def test_others_items_and_unknown_ids(
    client: TestClient, store: Store, person: dict[str, str], vote: dict[str, Any]
) -> None:
    other = {"Person": client.post("api/people", json=AGREED).json()["person"]}
    for header, changes, status in (
        (other, {}, 409),
        (person, {"item": "unknown"}, 409),
        ({}, {}, 401),
        ({"Person": ""}, {}, 401),
        ({"Person": "1"}, {}, 401),
        ({"Person": "' OR 1=1 --"}, {}, 401),
        ({"Person": b"\xff\xfe"}, {}, 401),
    ):
        answer = client.post("api/votes", json=vote | changes, headers=header)  # type: ignore[arg-type]
        assert answer.status_code == status, answer.text
    assert client.get("api/next").status_code == 401
    assert client.delete("api/people").status_code == 401
    assert (store.ballots(), store.people()) == ([], 2)


def test_who_withdraws_is_unknown_from_then_on(
    client: TestClient, store: Store, person: dict[str, str], vote: dict[str, Any]
) -> None:
    assert client.post("api/votes", json=vote, headers=person).status_code == 200
    assert client.delete("api/people", headers=person).status_code == 204
    assert client.get("api/next", headers=person).status_code == 401
    assert client.delete("api/people", headers=person).status_code == 401
    assert (store.ballots(), store.withdrawn()) == ([], 1)


def test_nothing_that_is_sent_tells_arms_or_seeds(client: TestClient, study: Study, person: dict[str, str]) -> None:
    """Pages, headers, ids, clips, of every pair to the end."""
    told = []
    for path in ("", "page.js", "player.js", "page.css", "api/study"):
        answer = client.get(path)
        assert answer.status_code == 200
        told.append((str(answer.headers), answer.content))
    sizes = set()
    for _ in range(study.items_each):
        answer = client.get("api/next", headers=person)
        told.append((str(answer.headers), answer.content))
        pair = answer.json()["pair"]
        assert set(pair) == {"item", "number", "prompt", "clips", "frames", "fps", "size", "answers"}
        assert pair["prompt"] in PROMPTS
        for clip in pair["clips"]:
            answer = client.get(f"clips/{clip}.mp4")
            sizes.add(len(answer.content))
            names = {name.lower() for name in answer.headers}
            assert not names & {"last-modified", "etag", "content-disposition"}
            assert answer.headers["content-type"] == "video/mp4"
            told.append((str(answer.headers), answer.content))
        for question in study.questions:
            vote = {"watched": 1, "loops": 1, "replays": 0, "screen": [1, 1], "answer": "tie"}
            client.post("api/votes", json=vote | {"item": pair["item"], "question": question}, headers=person)
    assert client.get("api/next", headers=person).json() == {"pair": None, "after": None}
    for headers, content in told:
        for trace in (*ARMS, "altered", "frozen", "shuffled", "swapped", "toy", "sha256", "seed"):
            assert trace.encode() not in content
            assert trace not in headers
    assert len(told) == 5 + study.items_each * 3


def test_every_answer_keeps_the_browser_at_home(client: TestClient) -> None:
    for path in ("", "page.js", "api/study", "api/next", "nothing", "clips/x.mp4"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("clip", ["x", "..%2f..%2fvotes.sqlite", "../votes", "%00", "votes"])
def test_only_clips_of_the_study_are_served(client: TestClient, clip: str) -> None:
    assert client.get(f"clips/{clip}.mp4").status_code == 404
    assert client.get(f"clips/{clip}").status_code == 404


def test_the_page_asks_nobody_else() -> None:
    folder = Path(__file__).parents[3] / "src" / "bytheway" / "evaluation" / "votes"
    for name in ("page.html", "page.css", "page.js", "player.js"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "http:" not in text
        assert "https:" not in text
        assert "innerHTML" not in text, "prompts are anybody's"


def test_prompts_with_markup_are_told_as_text(client: TestClient, person: dict[str, str], study: Study) -> None:
    """The page puts them in as text, which the tests in a browser hold; the server makes no HTML of them."""
    assert client.get("").text.count("<b>blue</b>") == 0
    assert client.get("api/next", headers=person).headers["content-type"] == "application/json"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "10.0.0.1"])
def test_other_names_of_this_machine_are_refused(client: TestClient, host: str) -> None:
    """A page of another site whose name was made to lead here (DNS rebinding) sends that name."""
    assert client.get("api/study", headers={"Host": host}).status_code == 400
    assert client.get("api/study", headers={"Host": "localhost:8000"}).status_code == 200


def test_without_the_secret_everything_is_forbidden(store: Store, study: Study) -> None:
    secret = store.secret()
    app = app_of(store, study, secret)
    client = TestClient(app, base_url="http://10.0.0.1:8000")
    for path in ("", "/", "/page.js", "/api/study", "/api/people", "/clips/x.mp4", f"/{secret}", f"/{secret}x/"):
        answer = client.get(path)
        assert answer.status_code == 403, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.post("/api/people", json=AGREED).status_code == 403
    assert client.get(f"/{secret[:-1]}/api/study").status_code == 403
    assert client.get("/%ff/api/study").status_code == 403
    assert store.people() == 0
    for path in ("", "page.js", "api/study"):
        assert client.get(f"/{secret}/{path}").status_code == 200
    person = client.post(f"/{secret}/api/people", json=AGREED).json()["person"]
    assert client.get(f"/{secret}/api/next", headers={"Person": person}).status_code == 200


def test_a_vote_that_cannot_be_stored_is_not_acknowledged(
    client: TestClient, store: Store, person: dict[str, str], vote: dict[str, Any]
) -> None:
    store._rows("PRAGMA query_only = ON")  # as a disk that is full
    answer = client.post("api/votes", json=vote, headers=person)
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("Nothing could be stored")
    store._rows("PRAGMA query_only = OFF")
    assert client.post("api/votes", json=vote, headers=person).status_code == 200
    assert len(store.ballots()) == 1


def test_ports() -> None:
    with listen(0, 0, share=False) as one:
        host, number = one.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ByTheWayError, match=f"Port {number} cannot be used: Address already in use; give another"):
            listen(number, 0, share=False)
        with listen(0, number, share=False) as other:  # that of the last server, which is still there
            assert other.getsockname()[1] != number
    with listen(0, number, share=False) as again:
        assert again.getsockname()[1] == number
    with listen(0, 0, share=True) as shared:
        assert shared.getsockname()[0] == "0.0.0.0"
        assert shared.family == socket.AF_INET
