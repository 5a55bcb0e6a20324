"""The page to vote on, served to people's browsers. It asks nothing of the network, and keeps no addresses.

What a browser is sent says nothing of arms and seeds: random ids of clips and items, the prompt, and the questions.
"""

from __future__ import annotations

import hmac
import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bytheway.errors import ByTheWayError
from bytheway.evaluation.votes.clips import ENDING
from bytheway.evaluation.votes.http import (
    OWN_NAMES,
    App,
    Receive,
    Scope,
    Send,
    error_of,
    json_of,
    page_of,
    with_headers,
)
from bytheway.evaluation.votes.store import RefusedError, Shown, Store
from bytheway.evaluation.votes.study import Study
from bytheway.evaluation.votes.vote import vote_of

HERE: Final = Path(str(files(__package__)))
LARGEST_BODY: Final = 4096  # bytes
_SECONDS_A_QUESTION: Final = 8  # of a person, roughly
_PAGES: Final = {"": "page.html", "page.css": "page.css", "page.js": "page.js", "player.js": "player.js"}
# They keep a browser from asking anybody else, and from keeping anything.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


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
        *(Route(f"/{path}", page_of(HERE / name), methods=["GET"]) for path, name in _PAGES.items()),
        Route("/api/study", service.about, methods=["GET"]),
        Route("/api/people", service.join, methods=["POST"]),
        Route("/api/people", service.withdraw, methods=["DELETE"]),
        Route("/api/next", service.next, methods=["GET"]),
        Route("/api/votes", service.vote, methods=["POST"]),
        Route(f"/clips/{{clip}}{ENDING}", service.clip, methods=["GET"]),
    ]
    app: App = Starlette(
        routes=routes,
        middleware=OWN_NAMES if secret is None else [],
        exception_handlers={HTTPException: error_of, ByTheWayError: _refused, sqlite3.Error: _not_stored},
    )
    return with_headers(app if secret is None else _BehindSecret(app, secret), _HEADERS)


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
        if await json_of(request, LARGEST_BODY) != {"adult": True, "agreed": True}:
            raise HTTPException(400, "Nobody takes part who is not 18 or has not agreed.")
        return JSONResponse({"person": await run_in_threadpool(self._store.join, self._study)}, 201)

    async def next(self, request: Request) -> Response:
        """The pair whose turn it is."""
        return JSONResponse(await run_in_threadpool(self._state, await self._person(request)))

    async def vote(self, request: Request) -> Response:
        """A vote; the answer comes when it is on disk, with the pair whose turn it is then."""
        person = await self._person(request)
        vote = vote_of(await json_of(request, LARGEST_BODY), self._study)

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
