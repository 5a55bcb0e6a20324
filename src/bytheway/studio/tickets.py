"""A ticket: what somebody asked for, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from secrets import token_hex
from threading import Event, Lock
from typing import Any, Final, Literal, TypeAlias

from PIL import Image

from bytheway.studio.wishes import Wish

State: TypeAlias = Literal["waiting", "loading", "looking", "making", "done", "stopped", "failed"]

ENDED: Final[tuple[State, ...]] = ("done", "stopped", "failed")


@dataclass(frozen=True)
class Progress:
    """How far the denoising of a ticket is.

    Attributes:
        done, total: steps of all its clips.
        what: which clip is being made, in words.
        step, steps: of that clip.
        active: in how many of its steps, from the first on, the method acts.
        seconds_left: None before the first step is over.
    """

    done: int
    total: int
    what: str
    step: int
    steps: int
    active: int
    seconds_left: float | None


@dataclass(frozen=True)
class Made:
    """A clip that came out of a ticket.

    Attributes:
        name: in the history.
        label: the values that a grid gave it, or the seed.
        forecast: what its first steps told, where a fit tells.
    """

    name: str
    label: str
    forecast: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A seed that was begun, and what is predicted of it."""

    seed: int
    motion: float
    structure: float | None
    near_static: float | None
    place: int
    kept: bool


@dataclass(frozen=True)
class Status:
    """How far a ticket is.

    Attributes:
        version: goes up with every change.
        state: what is done with it; the last three are final.
        ahead: tickets whose turn comes before, while it waits.
        said: the sentence of an error, or what is being done.
        notes: what is made otherwise than asked for, and why settings were chosen, in sentences.
        progress: None before the denoising begins.
        forecast: of the clip that is being made.
        preview: of the clip that is being made, small.
        made: what is finished.
        candidates: of the seeds that were begun, in their order.
    """

    version: int = 0
    state: State = "waiting"
    ahead: int = 0
    said: str = ""
    notes: tuple[str, ...] = ()
    progress: Progress | None = None
    forecast: str | None = None
    preview: Image.Image | None = None
    made: tuple[Made, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in ENDED


@dataclass(eq=False)
class Ticket:
    """What somebody asked for.

    Attributes:
        owner: who did, a random word of the browser.
        wish: what it is; the images and the video of it are let go of when it ends.
        number: a random word by which its owner comes back to it.
        stop: set where it is wanted no longer.
    """

    owner: str
    wish: Wish
    number: str = field(default_factory=lambda: token_hex(8))
    stop: Event = field(default_factory=Event)
    _status: Status = field(default_factory=Status)
    _lock: Lock = field(default_factory=Lock)

    @property
    def status(self) -> Status:
        """How far it is."""
        return self._status

    def change(self, **changes: Any) -> None:
        """Say how far it is by now; what has ended stays as it is."""
        with self._lock:
            if not self._status.ended:
                self._status = replace(self._status, version=self._status.version + 1, **changes)
                if self._status.ended:  # what it started from is large, and needed no longer
                    request = replace(self.wish.request, images=(), video=None, strength=None)
                    self.wish = replace(self.wish, request=request)
