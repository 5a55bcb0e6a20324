"""What every page that bytheway serves goes by: sockets, headers, files, small bodies of JSON (Starlette and uvicorn).

Importing this, before what is built on it, says in a sentence where one of the two is not installed.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from bytheway.errors import ByTheWayError

try:
    import uvicorn
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
except ImportError as error:
    raise ByTheWayError(
        "A page in the browser needs starlette and uvicorn; install them (pip install starlette uvicorn)."
    ) from error

LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"
OWN_NAMES: Final = [Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)]
"""Only requests by the names of this machine are answered, so that no page of another site can lead a browser here."""
_AT_ONCE: Final = 256  # connections
_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def with_headers(app: App, headers: Mapping[str, str]) -> App:
    """An application whose every answer has these headers as well."""
    ours = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def and_ours(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *ours]
            await send(message)

        await app(scope, receive, and_ours)

    return answer


def page_of(path: Path, headers: Mapping[str, str] | None = None) -> Callable[[Request], Awaitable[Response]]:
    """Answers with a file of a page, which is read once, and these headers."""
    content = path.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=_KINDS[path.suffix], headers=headers)

    return answer


async def error_of(request: Request, error: Exception) -> Response:
    """What a page shows of an HTTPException."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def json_of(request: Request, largest: int) -> Any:
    """The JSON of a body of at most so many bytes, sent as such: a page of another site cannot send that unasked.

    Raises:
        HTTPException: it is something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON (application/json).")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise HTTPException(413, f"Send at most {largest} bytes.", {"Connection": "close"})
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "That is no JSON.") from None


def listen(port: int, last_port: int, *, share: bool) -> socket.socket:
    """A socket to serve on: this machine's own (127.0.0.1), or to share, all of its networks'.

    Args:
        port: which one; 0: the one of the last server, where it is free, else any.
        last_port: that of the last server; 0 where there was none.

    Raises:
        ByTheWayError: the port is not free, or may not be used.
    """
    for attempt in dict.fromkeys((port or last_port, port)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere two could then have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((EVERYWHERE if share else LOOPBACK, attempt))
            listener.listen()  # from here on browsers are kept waiting rather than refused
            return listener
        except OSError as error:
            listener.close()
            refusal = error
    raise ByTheWayError(f"Port {port} cannot be used: {refusal.strerror}; give another.", setting="port") from refusal


def own_address() -> str:
    """The address of this machine in its network, by which others reach it; of loopback where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which way a packet would go
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])


def serve(app: App, listener: socket.socket) -> None:
    """Serve on a socket of `listen` until the process is asked to end; requests at work are answered first."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        limit_concurrency=_AT_ONCE,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listener])
