"""What serves the page and answers it: HTTP over the studio, and nothing that asks anybody else.

Everybody has a cookie with a random word, by which tickets are theirs alone. What somebody fills in stays in the
browser; what is made is for all who may use the studio.
"""

from __future__ import annotations

import base64
import hmac
import io
import json
import secrets
import tempfile
import traceback
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from bytheway.errors import ByTheWayError
from bytheway.evaluation.scores import json_ready
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
from bytheway.models.choice import ModelChoice
from bytheway.studio.forms import choices, form_of, wish_of
from bytheway.studio.history import LARGEST, Entry, settings_in
from bytheway.studio.judging import Judging
from bytheway.studio.service import Studio
from bytheway.studio.tickets import Ticket

COOKIE: Final = "bytheway-studio"
LARGEST_FORM: Final = 64 << 10  # bytes
SHOWN: Final = 20  # the latest tickets of somebody, which are told though they ended
PAGE: Final = 24  # clips of the history that are told at once
_FOLDER: Final = Path(str(files(__package__))) / "page"
_PARTS: Final = tuple(path for path in _FOLDER.iterdir() if path.suffix in (".js", ".css"))
_PLAYER: Final = Path(str(files("bytheway.evaluation.votes"))) / "player.js"
_ANEW: Final = {"Cache-Control": "no-cache"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Json(JSONResponse):
    """JSON of whatever clips carry: null for what is not finite, and ASCII alone, for a text may be no UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(json_ready(content), allow_nan=False, separators=(",", ":")).encode()


class _WithVotes:
    """The voting page below its secret, beside the studio's own."""

    def __init__(self, app: App, judging: Judging) -> None:
        self._app, self._judging = app, judging

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        voting = await run_in_threadpool(self._judging.app, scope["path"]) if scope["type"] == "http" else None
        await (voting or self._app)(scope, receive, send)


class _Behind:
    """Nothing is served to whoever does not give a name and a password (HTTP Basic); compared in constant time."""

    def __init__(self, app: App, auth: str) -> None:
        self._app, self._wanted = app, base64.b64encode(auth.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            kind, _, word = given.partition(b" ")
            if kind.lower() != b"basic" or not hmac.compare_digest(word.strip(), self._wanted):
                ask = {"WWW-Authenticate": 'Basic realm="bytheway studio", charset="UTF-8"'}
                await _Json({"error": "Name and password are needed."}, 401, ask)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def app_of(studio: Studio, choice: ModelChoice, *, auth: str | None = None, listens: bool = False) -> App:
    """The application that serves a studio.

    Args:
        studio: what does the work.
        choice: the model that the page begins with; all go onto its device.
        auth: `NAME:PASSWORD`, without which everything is refused; None: nobody is asked.
        listens: whether other machines are let in; else only requests by the names of this machine are answered, so
            that no page of another site can lead a browser here.
    """
    service = _Service(studio, choice)
    app: App = Starlette(
        routes=[
            Route("/", service.page),
            *(Route(f"/{path.name}", page_of(path, _ANEW)) for path in (*_PARTS, _PLAYER)),
            Route("/api/about", service.about),
            Route("/api/tickets", service.tickets),
            Route("/api/tickets", service.ask, methods=["POST"]),
            Route("/api/tickets/{number}", service.stop, methods=["DELETE"]),
            Route("/api/tickets/{number}/preview.jpg", service.preview),
            Route("/api/inputs", service.give, methods=["POST"]),
            Route("/api/settings", service.settings_of_file, methods=["POST"]),
            Route("/api/history", service.history),
            Route("/api/history/{name}", service.entry),
            Route("/api/history/{name}", service.delete, methods=["DELETE"]),
            Route("/api/history/{name}", service.restore, methods=["POST"]),
            Route("/api/judge", service.judge),
            Route("/api/judge", service.begin_to_judge, methods=["POST"]),
            Route("/clips/{name}.{ending}", service.clip),
        ],
        middleware=[] if listens else OWN_NAMES,
        exception_handlers={HTTPException: error_of, ByTheWayError: _refused, OSError: _unkept},
    )
    app = with_headers(app, _HEADERS)
    app = _WithVotes(app, service.judging)
    return app if auth is None else _Behind(app, auth)


async def _refused(request: Request, error: Exception) -> Response:
    return _Json({"error": str(error)}, 400)


async def _unkept(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    traceback.print_exception(error)
    said = f"The studio's machine cannot keep this: {error.strerror}. Make room there, and try again."
    return _Json({"error": said}, 507)


class _Service:
    """What the page asks for. Everything that touches the disk or waits runs beside the event loop."""

    def __init__(self, studio: Studio, choice: ModelChoice) -> None:
        self._studio, self._choice = studio, choice
        self.judging = Judging(studio.history)
        self._page = page_of(_FOLDER / "page.html", _ANEW)

    async def page(self, request: Request) -> Response:
        """The page; who has no cookie yet is given one."""
        answer = await self._page(request)
        if not request.cookies.get(COOKIE):
            word = secrets.token_urlsafe(24)
            answer.set_cookie(COOKIE, word, max_age=10 * 365 * 86400, httponly=True, samesite="strict")
        return answer

    async def about(self, request: Request) -> Response:
        """What the form offers."""
        said = await run_in_threadpool(choices)
        return _Json(said | {"model": self._choice.model, "largest": LARGEST})

    async def ask(self, request: Request) -> Response:
        """A new ticket."""
        owner, form = _owner(request), await json_of(request, LARGEST_FORM)

        def asked() -> Ticket:
            return self._studio.ask(owner, wish_of(form, self._studio.history, self._choice.device, self._choice.model))

        return _Json(_told(await run_in_threadpool(asked)), 201)

    async def tickets(self, request: Request) -> Response:
        """One's own tickets that go on, and the latest of the others; and what the studio is loading."""
        own = self._studio.tickets(_owner(request))
        shown = [one for place, one in enumerate(own, SHOWN - len(own)) if place >= 0 or not one.status.ended]
        return _Json({"tickets": [_told(one) for one in shown], "said": self._studio.model_said})

    async def stop(self, request: Request) -> Response:
        """A ticket is wanted no longer."""
        ticket = self._ticket(request)
        await run_in_threadpool(self._studio.stop, ticket)
        return _Json(_told(ticket))

    async def preview(self, request: Request) -> Response:
        """The clip that is being made, small."""
        picture = self._ticket(request).status.preview
        if picture is None:
            raise HTTPException(404, "There is nothing to be seen yet.")
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=85)
        return Response(content.getvalue(), media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def give(self, request: Request) -> Response:
        """A file that clips are to start from."""
        _owner(request)
        name = unquote(request.query_params.get("name", ""))
        with tempfile.TemporaryDirectory(prefix="bytheway-") as folder:
            file = await _received(request, Path(folder), Path(name.replace("\\", "/")).suffix)
            kept = await run_in_threadpool(self._studio.history.keep_input, file)
        return _Json({"file": kept.name}, 201)

    async def settings_of_file(self, request: Request) -> Response:
        """The form that makes the clip again that is given."""
        _owner(request)
        name = unquote(request.query_params.get("name", ""))
        with tempfile.TemporaryDirectory(prefix="bytheway-") as folder:
            file = await _received(request, Path(folder), Path(name.replace("\\", "/")).suffix)
            settings = await run_in_threadpool(settings_in, file)
        return _Json({"form": form_of(settings, self._studio.history), "settings": settings})

    async def history(self, request: Request) -> Response:
        """Some clips of the history."""
        _owner(request)
        words = request.query_params.get("words", "")[:200]
        start = request.query_params.get("start", "0")
        first = int(start) if start.isdecimal() and len(start) < 10 else 0
        found = await run_in_threadpool(self._studio.history.entries, words)
        shown = [_entry(one) for one in found[first : first + PAGE]]
        return _Json({"clips": shown, "count": len(found)})

    async def entry(self, request: Request) -> Response:
        """A clip, with all its settings and what was recorded of it."""
        _owner(request)
        history, name = self._studio.history, request.path_params["name"]
        entry = await run_in_threadpool(history.entry, name)
        curves = await run_in_threadpool(history.curves, name)
        form = form_of(entry.settings, history)
        return _Json({**_entry(entry), "settings": dict(entry.settings), "curves": curves, "form": form})

    async def delete(self, request: Request) -> Response:
        """A clip leaves the history."""
        _owner(request)
        await run_in_threadpool(self._studio.history.delete, request.path_params["name"])
        return Response(status_code=204)

    async def restore(self, request: Request) -> Response:
        """A clip that was deleted comes back."""
        _owner(request)
        await json_of(request, LARGEST_FORM)
        await run_in_threadpool(self._studio.history.restore, request.path_params["name"])
        return Response(status_code=204)

    async def judge(self, request: Request) -> Response:
        """Which pairs there are, and what the votes on them tell."""
        _owner(request)
        return _Json(await run_in_threadpool(self.judging.told))

    async def begin_to_judge(self, request: Request) -> Response:
        """A study of the pairs that there are now."""
        _owner(request)
        await json_of(request, LARGEST_FORM)
        await run_in_threadpool(self.judging.begin)
        return await self.judge(request)

    async def clip(self, request: Request) -> Response:
        """A clip as a file."""
        _owner(request)
        name, ending = request.path_params["name"], request.path_params["ending"]
        path = await run_in_threadpool(self._studio.history.export, name, ending)
        saved = path.name if "download" in request.query_params else None
        return FileResponse(path, filename=saved, headers={"Cache-Control": "private, max-age=3600"})

    def _ticket(self, request: Request) -> Ticket:
        ticket = self._studio.ticket(_owner(request), request.path_params["number"])
        if ticket is None:
            raise HTTPException(404, "The studio knows no more of this; it was started anew meanwhile.")
        return ticket


def _owner(request: Request) -> str:
    owner = request.cookies.get(COOKIE, "")
    if not 16 <= len(owner) <= 64:
        raise HTTPException(401, "The browser keeps no cookie of the studio; allow it, and load the page again.")
    return owner


async def _received(request: Request, folder: Path, ending: str) -> Path:
    """The body as a file; more than is ever kept is refused, at once where it is announced."""
    too_large = HTTPException(
        413, f"The file has more than {LARGEST >> 20} MB; give a smaller one.", {"Connection": "close"}
    )
    if request.headers.get("content-type", "") != "application/octet-stream":
        raise HTTPException(415, "Send the bytes of a file (application/octet-stream).")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > LARGEST:
        raise too_large
    if len(ending) > 6 or not ending.removeprefix(".").isalnum() or not ending.isascii():
        raise HTTPException(400, "The file says by no ending what it is; give an image or a video, such as ball.png.")
    place, size = folder / f"given{ending.lower()}", 0
    with place.open("wb") as opened:
        async for chunk in request.stream():
            size += len(chunk)
            if size > LARGEST:
                raise too_large
            await run_in_threadpool(opened.write, chunk)
    return place


def _told(ticket: Ticket) -> dict[str, Any]:
    """A ticket, ready for JSON."""
    status = ticket.status
    progress = status.progress
    return {
        "number": ticket.number,
        "kind": "seeds" if ticket.wish.best else "grid" if ticket.wish.grid else "make",
        "compare": ticket.wish.compare,
        "grid": [{"setting": one.setting, "values": one.values} for one in ticket.wish.grid],
        "prompt": ticket.wish.request.prompts[0],
        "seed": str(ticket.wish.request.seed),
        "clips": ticket.wish.clips,
        "version": status.version,
        "state": status.state,
        "ended": status.ended,
        "ahead": status.ahead,
        "said": status.said,
        "notes": status.notes,
        "forecast": status.forecast,
        "preview": status.preview is not None,
        "progress": None if progress is None else vars(progress),
        "made": [vars(one) for one in status.made],
        "candidates": [vars(one) | {"seed": str(one.seed)} for one in status.candidates],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    """A clip of the history, ready for JSON: what its card shows."""
    settings = entry.settings
    names = ("prompt", "num_frames", "fps", "width", "height", "steps", "model", "config")
    return {
        "name": entry.name,
        "partner": entry.partner,
        "enhanced": entry.enhanced,
        "seed": str(settings.get("seed", "")),
        **{name: settings.get(name) for name in names},
    }
