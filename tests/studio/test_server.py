"""The studio over HTTP: who may see what, and what is refused."""

from __future__ import annotations

import base64
import errno
import json
import math
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from starlette.testclient import TestClient

from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.write import save_video
from bytheway.models.choice import ModelChoice
from bytheway.studio.history import LARGEST, History
from bytheway.studio.server import COOKIE, app_of
from bytheway.studio.service import Studio
from tests.toys.studio_server import FORM, Visitor, served
from tests.toys.vote_server import Server

MARKUP = "a <script>alert(1)</script> & \"ball\" 'on' grass"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Server]:
    with served(data, "--queue", 2) as running:
        yield running


@pytest.fixture(scope="module")
def ann(server: Server) -> Visitor:
    return Visitor(server.address)


@pytest.fixture(scope="module")
def clip(ann: Visitor) -> str:
    ticket = ann.made(prompt=MARKUP, compare=True)
    assert ticket["state"] == "done", ticket
    return str(ticket["made"][0]["name"])


def test_a_clip_goes_from_a_form_to_a_download(ann: Visitor, clip: str, tmp_path: Path) -> None:
    told = ann.json("GET", f"/api/history/{clip}")[1]
    assert (told["settings"]["prompt"], told["partner"]) == (MARKUP, f"{clip}-vanilla")
    assert told["curves"]["energy"]
    assert told["form"]["seed"] == "5"
    for ending in ("mp4", "gif", "webp"):
        status, content, headers = ann.asked("GET", f"/clips/{clip}.{ending}?download")
        assert status == 200
        assert headers["content-disposition"].startswith("attachment")
        file = tmp_path / f"clip.{ending}"
        file.write_bytes(content)
        assert read_metadata(file)["prompt"] == MARKUP
        status, back = ann.sent(f"/api/settings?name={quote('my clip.' + ending)}", content)
        assert (status, back["form"]["prompt"]) == (200, MARKUP)
    assert [one["name"] for one in ann.json("GET", "/api/history?words=alert+vanilla")[1]["clips"]] == [
        f"{clip}-vanilla"
    ]


def test_what_json_has_no_word_for_is_told_all_the_same(ann: Visitor, clip: str, data: Path, tmp_path: Path) -> None:
    frames, fps = load_video(data / "studio" / f"{clip}.mp4")
    odd = {"prompt": "half of a pair: \ud83d", "config": {"alpha": math.nan}, "strength": math.inf}
    save_video(frames, tmp_path / "odd.mp4", fps, odd)
    status, told = ann.sent("/api/settings?name=odd.mp4", (tmp_path / "odd.mp4").read_bytes())
    assert status == 200
    assert odd | {"config": {"alpha": None}, "strength": None} == {name: told["settings"][name] for name in odd}
    name = "20000101-000000-1-odd"
    shutil.copy(tmp_path / "odd.mp4", data / "studio" / f"{name}.mp4")
    (data / "studio" / f"{name}.json").write_text('{"steps": [0], "energy": {"up_blocks.1": [NaN]}}')
    status, told = ann.json("GET", f"/api/history/{name}")
    assert (status, told["curves"]["energy"]) == (200, {"up_blocks.1": [None]})
    assert name in [one["name"] for one in ann.json("GET", "/api/history")[1]["clips"]]
    assert ann.json("DELETE", f"/api/history/{name}") == (204, None)


def test_deleting_and_undoing(ann: Visitor, clip: str) -> None:
    assert ann.json("DELETE", f"/api/history/{clip}") == (204, None)
    assert ann.json("GET", f"/api/history/{clip}")[0] == 400
    assert ann.json("POST", f"/api/history/{clip}", {}) == (204, None)
    assert ann.json("GET", f"/api/history/{clip}")[0] == 200


def test_tickets_are_their_owners_alone_and_turns_are_fair(server: Server, ann: Visitor, clip: str) -> None:
    bob = Visitor(server.address)
    long = ann.json("POST", "/api/tickets", {**FORM, "steps": "900"})[1]["number"]
    time.sleep(0.5)
    second = ann.json("POST", "/api/tickets", FORM)[1]
    first_of_bob = bob.json("POST", "/api/tickets", FORM)[1]
    status, told = bob.json("POST", "/api/tickets", FORM)
    assert (status, told["error"]) == (400, "2 wait already, which is as many as may; try again later.")
    tickets = {one["number"]: one for one in ann.json("GET", "/api/tickets")[1]["tickets"]}
    assert tickets[second["number"]]["said"] == "Waiting: 1 before you."
    assert [one["number"] for one in bob.json("GET", "/api/tickets")[1]["tickets"]] == [first_of_bob["number"]]
    assert bob.json("DELETE", f"/api/tickets/{long}")[0] == 404
    assert bob.asked("GET", f"/api/tickets/{long}/preview.jpg")[0] == 404
    assert ann.json("DELETE", f"/api/tickets/{long}")[0] == 200
    assert ann.ended(long)["state"] == "stopped"
    assert bob.ended(first_of_bob["number"])["state"] == "done"
    assert ann.ended(second["number"])["state"] == "done"


def test_refusals_are_sentences(ann: Visitor) -> None:
    assert ann.made(model="no-such-model")["said"].startswith("There is no model 'no-such-model'")
    assert ann.json("POST", "/api/tickets", {**FORM, "prompt": ""})[1]["error"].startswith("The prompt is empty")
    assert ann.json("POST", "/api/tickets", [])[0] == 400
    assert ann.made(width="64", height="64", num_frames="8")["state"] == "done", "the studio goes on"


@pytest.mark.parametrize(
    "path",
    [
        "/clips/..%2f..%2fsecret.mp4",
        "/clips/%2e%2e/secret.mp4",
        "/clips/../../../etc/passwd",
        "/clips/x.mp4",
        "/clips/x.py",
        "/clips/deleted%2fx.mp4",
        "/clips/a%00b.mp4",
        "/api/history/..%2fx",
        "/page.html",
        "/server.py",
        "/..%2fservice.py",
        "/api/tickets/x/preview.jpg",
    ],
)
def test_no_path_leads_out(ann: Visitor, path: str) -> None:
    status, told, _ = ann.asked("GET", path)
    assert status in (400, 404), told
    assert b"Traceback" not in told
    assert b"root:" not in told


def test_what_nobody_of_the_page_sends_is_refused(server: Server, ann: Visitor) -> None:
    form = json.dumps(FORM).encode()
    assert ann.asked("POST", "/api/tickets", form, {"Content-Type": "text/plain"})[0] == 415
    assert ann.asked("POST", "/api/tickets", b"x" * 70_000, {"Content-Type": "application/json"})[0] == 413
    assert ann.asked("POST", "/api/tickets", b"[" * 60_000, {"Content-Type": "application/json"})[0] == 400
    assert ann.asked("GET", "/", headers={"Host": "evil.example"})[0] == 400
    assert ann.asked("GET", "/api/history", headers={"Cookie": ""})[0] == 401
    _, _, headers = ann.asked("GET", "/", headers={"Cookie": ""})
    assert "default-src 'none'" in headers["content-security-policy"]
    assert {"HttpOnly", "SameSite=strict"} <= set(headers["set-cookie"].split("; "))


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    choice = ModelChoice("diorama", None, (), "cpu", None)
    studio = Studio(History(tmp_path / "clips"))
    client = TestClient(app_of(studio, choice), "http://127.0.0.1", cookies={COOKIE: "x" * 24})
    monkeypatch.setattr("bytheway.studio.server.tempfile.TemporaryDirectory", full)
    kind = {"Content-Type": "application/octet-stream"}
    answer = client.post("/api/inputs?name=red.png", content=b"x", headers=kind)
    assert (answer.status_code, "No space left on device" in answer.json()["error"]) == (507, True)
    studio.close()


def test_a_file_of_two_gigabytes_is_refused_before_it_comes(server: Server, ann: Visitor, data: Path) -> None:
    host, port = urlsplit(server.address).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = (
            f"POST /api/inputs?name=big.mp4 HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {ann.headers['Cookie']}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {2 << 30}\r\n\r\n"
        )
        connection.sendall(head.encode() + b"\0" * 1000)
        answer = connection.recv(4096)
    assert b" 413 " in answer.splitlines()[0]
    assert not any((data / "studio" / "inputs").iterdir())
    assert LARGEST < 2 << 30


def test_names_of_files_are_nothing_but_their_endings(ann: Visitor, data: Path) -> None:
    for name in ("../../evil.png", "C:\\evil.png", "a\0b.png", "<img src=x onerror=alert(1)>.png"):
        status, told = ann.sent(f"/api/inputs?name={quote(name)}", name.encode())
        assert status == 201, told
        assert set(told["file"].removesuffix(".png")) <= set("0123456789abcdef")
    for name in ("", "noending", "x.", "x.verylongending", "x.p%g", "x.ünd"):
        assert ann.sent(f"/api/inputs?name={quote(name)}", b"x")[0] == 400
    status, told = ann.sent("/api/settings?name=x.mp4", b"no clip")
    assert (status, str(data) in told["error"]) == (400, False)
    assert {one.name for one in data.iterdir()} == {"studio"}


def test_with_a_password_nothing_is_seen_without(data: Path, tmp_path: Path) -> None:
    with served(tmp_path, "--auth", "ann:s3cret:x") as server:
        word = base64.b64encode(b"ann:s3cret:x").decode()
        ann = Visitor(server.address, {"Authorization": f"Basic {word}"})
        assert ann.json("GET", "/api/history")[0] == 200
        for header in ("", "Basic", f"Basic {word[:-2]}", "Bearer x", "Basic \xff"):
            status, _, headers = ann.asked("GET", "/page.js", headers={"Authorization": header})
            assert status == 401
            assert headers["www-authenticate"].startswith("Basic")


def test_the_history_outlives_a_kill(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        ann = Visitor(server.address)
        name = ann.made()["made"][0]["name"]
        ann.json("POST", "/api/tickets", {**FORM, "steps": "900"})
        server.process.kill()
        server.process.wait()
    with served(tmp_path) as again:
        bob = Visitor(again.address)
        assert [one["name"] for one in bob.json("GET", "/api/history")[1]["clips"]] == [name]
        assert bob.json("GET", "/api/tickets")[1]["tickets"] == []
        code, said = again.end()
        assert code == 0, said
