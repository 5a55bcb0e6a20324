"""The page to vote on, served to people's browsers. It asks nothing of the network, and keeps no addresses.

What a browser is sent says nothing of arms and seeds: random ids of clips and items, the prompt, and the questions.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib.resources import files
from typing import Any, Final, TypeAlias

from bytheway.errors import ByTheWayError
from bytheway.evaluation.votes.clips import ENDING
from bytheway.evaluation.votes.store import RefusedError, Shown, Store
from bytheway.evaluation.votes.study import Study
from bytheway.evaluation.votes.vote import vote_of

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise ByTheWayError(
        'Votes need starlette and uvicorn; install them (pip install -c constraints.txt ".[vote]" in a checkout).'
    ) from error

LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"
LARGEST_BODY: Final = 4096  # bytes
_AT_ONCE: Final = 256  # connections
_SECONDS_A_QUESTION: Final = 8  # of a person, roughly
_PAGES: Final = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
    "player.js": ("player.js", "text/javascript"),
}
# They keep a browser from asking anybody else, and from keeping anything.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

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


class _BehindSecret:
    """Nothing is served but below a secret, the first part of the path; compared in constant time."""

    def __init__(self, app: App, secret: str) -> None:
        self._app, self._secret = app, secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given, slash, _ = str(scope["path"]).removeprefix("/").partition("/")
        if not (hmac.compare_digest(given.encode("utf-8", "replace"), self._secret) and slash):
            sentence = {"error": "The link is not whole; ask for it again."}
            await JSONResponse(sentence, 403)(scope, receive, send)
            return
        await self._app({**scope, "root_path": f"/{given}"}, receive, send)


def app_of(store: Store, study: Study, secret: str | None = None) -> App:
    """The application that serves a study.

    Args:
        store: where its votes go.
        study: what is asked.
        secret: without it, as the first part of the path, everything is refused; None: only requests by the names of
            this machine are answered, so that no page of another site can lead a browser here.
    """
    service = _Service(store, study)
    routes = [
        *(Route(f"/{path}", _page(*its), methods=["GET"]) for path, its in _PAGES.items()),
        Route("/api/study", service.about, methods=["GET"]),
        Route("/api/people", service.join, methods=["POST"]),
        Route("/api/people", service.withdraw, methods=["DELETE"]),
        Route("/api/next", service.next, methods=["GET"]),
        Route("/api/votes", service.vote, methods=["POST"]),
        Route(f"/clips/{{clip}}{ENDING}", service.clip, methods=["GET"]),
    ]
    own = [Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)]
    app: App = Starlette(
        routes=routes,
        middleware=own if secret is None else [],
        exception_handlers={HTTPException: _error, ByTheWayError: _refused, sqlite3.Error: _not_stored},
    )
    return with_headers(app if secret is None else _BehindSecret(app, secret), _HEADERS)


def _page(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = files(__package__).joinpath(name).read_bytes()

    async def page(request: Request) -> Response:
        return Response(content, media_type=kind)

    return page


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 409 if isinstance(error, RefusedError) else 400)


async def _not_stored(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"Nothing could be stored: {error}."}, 503)


class _Service:
    """What the page asks for. Everything that touches the disk runs beside the event loop."""

    def __init__(self, store: Store, study: Study) -> None:
        self._store, self._study = store, study
        self._clips = {clip for pair in study.all_pairs for clip in pair.clips}

    async def about(self, request: Request) -> Response:
        """What is asked, for the first page."""
        study = self._study
        loops = sum(2 * pair.seconds for pair in study.pairs) / len(study.pairs)
        seconds = study.items_each * (loops + _SECONDS_A_QUESTION * len(study.questions))
        return JSONResponse(
            {
                "questions": [{"name": one.name, "title": one.title, "text": one.text} for one in study.asked],
                "pairs": study.items_each,
                "minutes": max(1, round(seconds / 60)),
            }
        )

    async def join(self, request: Request) -> Response:
        """A new person, who has agreed."""
        if await _json(request) != {"adult": True, "agreed": True}:
            raise HTTPException(400, "Nobody takes part who is not 18 or has not agreed.")
        return JSONResponse({"person": await run_in_threadpool(self._store.join, self._study)}, 201)

    async def next(self, request: Request) -> Response:
        """The pair whose turn it is."""
        return JSONResponse(await run_in_threadpool(self._state, await self._person(request)))

    async def vote(self, request: Request) -> Response:
        """A vote; the answer comes when it is on disk, with the pair whose turn it is then."""
        person = await self._person(request)
        vote = vote_of(await _json(request), self._study)

        def stored() -> dict[str, Any]:
            self._store.vote(person, vote, self._study)
            return self._state(person)

        return JSONResponse(await run_in_threadpool(stored))

    async def withdraw(self, request: Request) -> Response:
        """A person's votes are deleted."""
        await run_in_threadpool(self._store.withdraw, await self._person(request))
        return Response(status_code=204)

    async def clip(self, request: Request) -> Response:
        """A clip by its random id, in full, without a date."""
        clip = request.path_params["clip"]
        if clip not in self._clips:
            raise HTTPException(404, "There is no such clip.")
        content = await run_in_threadpool((self._store.clips / f"{clip}{ENDING}").read_bytes)
        return Response(content, media_type="video/mp4")

    async def _person(self, request: Request) -> int:
        person = await run_in_threadpool(self._store.number_of, request.headers.get("person", ""))
        if person is None:
            raise HTTPException(401, "You take no part yet, or not any more; load the page again.")
        return person

    def _state(self, person: int) -> dict[str, Any]:
        """Which pair has its turn, and the one after it, which a browser may fetch early; none at the end."""
        open_items = self._store.open_items(person, self._study)
        return {"pair": None, "after": None} | {
            name: self._told(one) for name, one in zip(("pair", "after"), open_items, strict=False)
        }

    def _told(self, shown: Shown) -> dict[str, Any]:
        pair = self._study.all_pairs[shown.item.pair]
        return {
            "item": shown.id,
            "number": shown.place + 1,
            "prompt": pair.prompt,
            "clips": list(pair.clips[::-1] if shown.item.swapped else pair.clips),
            "frames": pair.frames,
            "fps": pair.fps,
            "size": list(pair.size),
            "answers": shown.answers,
        }


async def _json(request: Request) -> Any:
    """The JSON of a small body, sent as such: a page of another site cannot send that unasked."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON (application/json).")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"More than {LARGEST_BODY} bytes are no vote.", {"Connection": "close"})
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
