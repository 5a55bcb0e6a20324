"""A server of OpenAI's chat shape, asked through OpenAI's own client, which retries with back-off."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

from bytheway.errors import ByTheWayError
from bytheway.evaluation.judge.asking import Request

KEY: Final = "OPENAI_API_KEY"
OPENAI: Final = "https://api.openai.com/v1"
RETRIES: Final = 3  # of one call, half a second to eight apart or as long as the server asks for
_OPENAI_HOST: Final = urlsplit(OPENAI).hostname
TIMEOUT: Final = 600.0  # seconds; a local server may load its model first

_OPTIONAL: Final = ("response_format", "temperature", "seed")
"""What is left out where a server refuses it by name, such as a temperature by models that reason."""
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""Names of the limit of a reply: most servers know the first alone, OpenAI's later models the second."""
_LONGEST_MESSAGE: Final = 300  # characters of what a server says


def check_endpoint(url: str | None) -> None:
    """Raise ByTheWayError where a server could not even be asked; nothing is sent to it."""
    with Endpoint(url, max_tokens=1):
        pass


class NoAnswerError(Exception):
    """A call that got no answer, with the reason as a sentence. `final`: no other call would get one either."""

    def __init__(self, sentence: str, *, final: bool = False) -> None:
        super().__init__(sentence)
        self.final = final


@dataclass(frozen=True)
class Reply:
    """What came back from one call.

    Attributes:
        text: what the model wrote.
        model: the name that the server gives it.
        finish_reason: why it stopped; "length" where it was cut.
        tokens_in, tokens_out: as the server counted them; None where it does not say.
        sent: the names of what was sent, those that the server refuses left out.
    """

    text: str
    model: str
    finish_reason: str
    tokens_in: int | None
    tokens_out: int | None
    sent: tuple[str, ...]


class Endpoint:
    """One server, and the key for it, which comes from the environment and goes nowhere else. A context manager.

    Args:
        url: up to and with "/v1"; None: OpenAI's.
        max_tokens: the longest reply.

    Raises:
        ByTheWayError: the client is not installed, the URL is none, or OpenAI's server is to be asked without a key.
    """

    def __init__(self, url: str | None, *, max_tokens: int) -> None:
        try:
            from openai import OpenAI
        except ImportError:
            raise ByTheWayError(
                'A judge requires the openai client; install it (pip install -c constraints.txt ".[judge]").'
            ) from None
        self.url = public_url(url or OPENAI)
        self._key = os.environ.get(KEY, "").strip()
        if not self._key and self.url == OPENAI:
            raise ByTheWayError(
                f"OpenAI's server requires a key; set {KEY}, or name another endpoint.", setting="endpoint"
            )
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise ByTheWayError(f"{KEY} holds characters that no key has; set it anew.")
        self.max_tokens = max_tokens
        self._refused: set[str] = set()
        self._limits = iter(_LIMITS[::-1] if urlsplit(self.url).hostname == _OPENAI_HOST else _LIMITS)
        self._limit = next(self._limits)
        self._lock = threading.Lock()
        self._client = OpenAI(base_url=url or OPENAI, api_key=self._key or "none", timeout=TIMEOUT, max_retries=RETRIES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, request: Request, images: Mapping[str, str]) -> Reply:
        """Send one request; settings that the server refuses by name are left out of it, and of all later ones.

        The limit of the reply has the other of its two names then.

        Raises:
            NoAnswerError: there is no reply, after all retries.
        """
        import openai

        body = request.filled(images)
        while True:
            sent = {name: value for name, value in body.items() if name not in self._refused}
            sent[self._limit] = self.max_tokens
            try:
                found = self._client.chat.completions.create(**sent)
            except openai.APITimeoutError:
                raise NoAnswerError(f"{self.url} did not answer within {TIMEOUT:g} seconds.") from None
            except openai.APIConnectionError as error:
                why = self._said(error.__cause__ or error)
                raise NoAnswerError(
                    f"{self.url} cannot be reached ({why}); start the server, or name another endpoint."
                ) from None
            except openai.APIStatusError as error:
                if not self._without(_refused(error, sent)):
                    raise self._no_answer(error) from None
            except (openai.OpenAIError, ValueError):
                raise NoAnswerError(f"{self.url} sent a reply that is damaged.") from None
            else:
                return self._reply(found, tuple(sent))

    def _without(self, refused: str | None) -> bool:
        """Send a setting no more; False where that cannot be. Other threads may have been told the same."""
        with self._lock:
            if refused not in _LIMITS:
                self._refused |= {refused} if refused else set()
                return refused is not None
            if refused == self._limit:
                self._limit = next(self._limits, self._limit)
            return refused != self._limit

    def spared(self, text: str) -> str:
        """A text of the server's without the key, which it may repeat."""
        return text.replace(self._key, "[key]") if self._key else text

    def _reply(self, found: Any, sent: tuple[str, ...]) -> Reply:
        """The parts of a completion that are looked at; servers leave out some, and the client checks none."""
        choices = getattr(found, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        if message is None:
            said = self._said(getattr(found, "error", None) or "it has no choices")
            raise NoAnswerError(f"{self.url} sent a reply that is no chat completion ({said}).")
        content, usage = getattr(message, "content", None), getattr(found, "usage", None)
        return Reply(
            text=content if isinstance(content, str) else "",
            model=str(getattr(found, "model", "")),
            finish_reason=str(getattr(choice, "finish_reason", "")),
            tokens_in=_count(usage, "prompt_tokens"),
            tokens_out=_count(usage, "completion_tokens"),
            sent=sent,
        )

    def _no_answer(self, error: Any) -> NoAnswerError:
        status, said = error.status_code, self._said(error)
        if status in (401, 403):
            return NoAnswerError(f"{self.url} refuses the key; set {KEY} to one that it accepts ({said}).", final=True)
        if status == 404:
            return NoAnswerError(
                f"{self.url} knows no such model or address; the address mostly ends in /v1 ({said}).", final=True
            )
        return NoAnswerError(f"{self.url} answered with an error ({said}).")

    def _said(self, error: object) -> str:
        return self.spared(" ".join(str(error).split()))[:_LONGEST_MESSAGE].rstrip(".")


def public_url(url: str) -> str:
    """A URL without the name and password that it may carry.

    Raises:
        ByTheWayError: it is no HTTP URL, or one to which nothing can be added.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ByTheWayError("The endpoint is no URL such as http://localhost:8000/v1.", setting="endpoint")
    if parts.query or parts.fragment:
        raise ByTheWayError(
            f"The endpoint has something after a ? or #; end it before, and give a key in {KEY}.", setting="endpoint"
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path}".rstrip("/")


def _refused(error: Any, sent: Mapping[str, Any]) -> str | None:
    """The setting of a request that a server says it does not accept, of those that can be left out or renamed."""
    if error.status_code not in (400, 422):
        return None
    said = f"{error.param} {error.message}"
    return next((name for name in (*_OPTIONAL, *_LIMITS) if name in sent and name in said), None)


def _count(usage: Any, name: str) -> int | None:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) and value >= 0 else None
