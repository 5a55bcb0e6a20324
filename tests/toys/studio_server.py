"""`bytheway studio` as a process, as a user starts it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.toys.vote_server import Server, running

FORM: Mapping[str, Any] = {
    "kind": "make",
    "model": "diorama",
    "prompt": "a red ball rolling to the right on grass",
    "seed": "5",
    "num_frames": "8",
    "steps": "3",
    "method": "preset",
}


def served(data: Path, *options: object, port: int = 0) -> AbstractContextManager[Server]:
    """A studio that keeps everything in a folder; whatever happens, it is gone at the end."""
    return running("studio", "--port", port, *options, BYTHEWAY_DATA=str(data))


class Visitor:
    """Somebody's browser, without a page."""

    def __init__(self, address: str, headers: Mapping[str, str] = {}) -> None:
        self.host = str(urlsplit(address).netloc)
        self.headers = dict(headers)
        status, told, _ = self.asked("GET", "/")
        assert status == 200, told
        self.headers["Cookie"] = self.cookie

    def asked(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers of an answer."""
        connection = HTTPConnection(self.host, timeout=120)
        connection.request(method, path, body, self.headers | dict(headers))
        answer = connection.getresponse()
        told = answer.read(), dict(answer.getheaders())
        self.cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
        connection.close()
        return answer.status, *told

    def json(self, method: str, path: str, content: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer to JSON."""
        body = None if content is None else json.dumps(content).encode()
        status, told, _ = self.asked(method, path, body, {"Content-Type": "application/json"})
        return status, json.loads(told) if told else None

    def sent(self, path: str, content: bytes) -> tuple[int, Any]:
        """Status and JSON of an answer to a file."""
        status, told, _ = self.asked("POST", path, content, {"Content-Type": "application/octet-stream"})
        return status, json.loads(told)

    def ended(self, number: str) -> dict[str, Any]:
        """A ticket of this visitor, when it is over."""
        for _ in range(1500):
            (ticket,) = [one for one in self.json("GET", "/api/tickets")[1]["tickets"] if one["number"] == number]
            if ticket["ended"]:
                return dict(ticket)
            time.sleep(0.2)
        raise AssertionError(ticket)

    def made(self, **changes: Any) -> dict[str, Any]:
        """A ticket for the usual form with some changes, when it is over."""
        status, told = self.json("POST", "/api/tickets", {**FORM, **changes})
        assert status == 201, told
        return self.ended(told["number"])
