"""A small server of OpenAI's chat shape: real HTTP, replies and failures as a test wants them, and what it was sent."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass
class Sent:
    """One request that came in.

    Attributes:
        body: the JSON.
        headers: by their names in small letters.
    """

    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def content(self) -> list[dict[str, Any]]:
        (message,) = self.body["messages"]
        return list(message["content"])

    @property
    def texts(self) -> list[str]:
        return [part["text"] for part in self.content if part["type"] == "text"]

    def images(self) -> list[Image.Image]:
        """The pictures, decoded, in order."""
        urls = [part["image_url"]["url"] for part in self.content if part["type"] == "image_url"]
        return [Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))) for url in urls]

    def brightness(self) -> tuple[float, float]:
        """Of the first video and of the second."""
        means = [float(np.asarray(image).mean()) for image in self.images()]
        half = len(means) // 2
        return float(np.mean(means[:half])), float(np.mean(means[half:]))


def completion(
    text: str | None, usage: tuple[int, int] | None = (1000, 20), finish_reason: str = "stop", **more: Any
) -> dict[str, Any]:
    """A reply as servers send it."""
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)} if usage else None
    message = {"role": "assistant", "content": text}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "judge-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        **({"usage": counted} if counted else {}),
        **more,
    }


def answer(choice: str, reason: str = "It is better.") -> str:
    return json.dumps({"reason": reason, "answer": choice})


def always_a(sent: Sent) -> Any:
    return completion(answer("A"))


def prefers_brighter(sent: Sent) -> Any:
    """A judge without a bias for places, who likes light."""
    first, second = sent.brightness()
    return completion(answer("tie" if abs(first - second) < 2 else "A" if first > second else "B"))


Respond = Callable[[Sent], Any]


@dataclass
class ChatServer:
    """Where it is, what it was sent, and what it says: JSON, or a response of Starlette."""

    url: str
    respond: Respond = always_a
    sent: list[Sent] = field(default_factory=list)
    answered: list[Sent] = field(default_factory=list)


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A server on a free port while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = ChatServer(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")

    async def chat(request: Request) -> Response:
        sent = Sent(await request.json(), dict(request.headers))
        server.sent.append(sent)
        found = await run_in_threadpool(server.respond, sent)
        if not isinstance(found, Response):
            found = JSONResponse(found)
        server.answered.append(sent)
        return found

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield server
    finally:
        running.should_exit = running.force_exit = True
        thread.join()
        listener.close()
