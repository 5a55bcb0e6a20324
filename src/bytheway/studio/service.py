"""The studio without its page: who asks is queued, one worker makes clips, everything made is kept.

One thread works, for there is one device; nothing else ever touches a pipeline.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from threading import Condition, Thread
from typing import Final, TypeAlias

from bytheway.errors import ByTheWayError, is_out_of_memory
from bytheway.families.pipeline import VideoPipeline
from bytheway.models.choice import ModelChoice
from bytheway.models.sources import existing_path
from bytheway.studio.fair import FairQueue
from bytheway.studio.history import History
from bytheway.studio.tickets import Ticket
from bytheway.studio.wishes import Wish

_KEPT: Final = 200  # tickets that ended and can still be looked at
NO_MEMORY: Final = "There is not enough memory for this; ask for fewer frames, a smaller size or a smaller model."
DOWN: Final = "The studio is ending."

Load: TypeAlias = Callable[[ModelChoice], VideoPipeline]


class Studio:
    """Takes wishes, and makes them true one after the other."""

    def __init__(
        self, history: History, *, longest: int = 20, own_files: bool = True, load: Load = ModelChoice.load
    ) -> None:
        """
        Args:
            history: where clips go.
            longest: how many tickets may wait at once.
            own_files: whether models and LoRAs may be files and folders of this machine; else, where other machines
                are let in, only `bytheway.models` and the hub are looked in.
            load: makes the pipeline of a choice.
        """
        self.history = history
        self._own_files, self._load = own_files, load
        self._trusted: set[str] = set()
        self._queue = FairQueue[Ticket](longest)
        self._tickets: dict[str, Ticket] = {}
        self._changed = Condition()
        self._ending = False
        self._loaded: tuple[ModelChoice, VideoPipeline] | None = None
        self._wanted: ModelChoice | None = None
        self.model_said = ""  # what the worker does with a model that is nobody's ticket
        self._thread = Thread(target=self._work, name="studio", daemon=True)
        self._thread.start()

    def prepare(self, choice: ModelChoice) -> None:
        """Load a model before anybody asks for it; whoever starts the studio may name any file."""
        with self._changed:
            self._trusted |= {choice.model, *choice.lora, choice.motion_adapter or choice.model}
            self._wanted = choice
            self.model_said = f"Loading {choice.model} …"
            self._changed.notify_all()

    def ask(self, owner: str, wish: Wish) -> Ticket:
        """Queue a wish.

        Raises:
            ByTheWayError: too many wait, it names files that may not be named, or the studio is ending.
        """
        self._check_files(wish.choice)
        ticket = Ticket(owner, wish)
        with self._changed:
            if self._ending:
                raise ByTheWayError(DOWN)
            self._queue.put(ticket)
            self._tickets[ticket.number] = ticket
            self._forget_old()
            self._tell_places()
            self._changed.notify_all()
        return ticket

    def ticket(self, owner: str, number: str) -> Ticket | None:
        """The ticket of a number, for its owner alone."""
        found = self._tickets.get(number)
        return found if found is not None and found.owner == owner else None

    def tickets(self, owner: str) -> list[Ticket]:
        """Everything that somebody asked for and that is not forgotten yet, the latest last."""
        return [ticket for ticket in list(self._tickets.values()) if ticket.owner == owner]

    def stop(self, ticket: Ticket) -> None:
        """Want a ticket no longer: it leaves the queue, or ends at once while its model loads, or within a step."""
        with self._changed:
            ticket.stop.set()
            if self._queue.remove(ticket):
                ticket.change(state="stopped", said="Taken out of the queue.")
                self._tell_places()
            elif ticket.status.state == "loading":
                # for whom it was is not told: everybody reads this
                ticket.change(state="stopped", said="Stopped.")
                self.model_said = "A model is loaded to its end, which cannot be broken off …"

    def close(self, seconds: float = 10) -> None:
        """Stop everything, and wait so long for it."""
        with self._changed:
            self._ending = True
            for ticket in self._tickets.values():
                ticket.stop.set()
            while (waiting := self._queue.take()) is not None:
                waiting.change(state="stopped", said=DOWN)
            self._changed.notify_all()
        self._thread.join(seconds)

    # ---------------------------------------------------------------------------------------------- the worker

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._ending or self._wanted or self._queue.order()):
                    self._changed.wait()
                if self._ending:
                    return
                ticket, wanted, self._wanted = self._queue.take(), self._wanted, None
                if ticket is not None:
                    self.model_said = ""  # it is the ticket's now
                    ticket.change(state="loading", said=f"Loading {ticket.wish.choice.model} …")
                self._tell_places()
            try:
                if ticket is not None:
                    self._serve(ticket)
                elif wanted is not None:
                    self._pipeline(wanted)
                    self.model_said = ""
            except Exception as error:  # nothing may end the one thread that works
                self.model_said = _said(error)
                if ticket is not None:
                    ticket.change(state="failed", said=self.model_said)

    def _serve(self, ticket: Ticket) -> None:
        from bytheway.studio.making import Making, StoppedError  # imports torch

        try:
            pipe = self._pipeline(ticket.wish.choice)
            with self._changed:
                if not ticket.stop.is_set():
                    ticket.change(state="making", said="")
            making = Making(pipe, ticket, self.history)
            making.check_stop()
            making()
            ticket.change(state="done", said="", progress=None)
        except StoppedError:
            made = len(ticket.status.made)
            ticket.change(state="stopped", said="Stopped." + (f" {made} finished before." if made else ""))
        except Exception as error:
            ticket.change(state="failed", said=_said(error))
            # what the error's frames hold is as large as the run
            traceback.clear_frames(error.__traceback__)
        self.model_said = ""
        _free_memory()

    def _pipeline(self, choice: ModelChoice) -> VideoPipeline:
        """The pipeline of a choice; the one before is let go first, for there may be memory for one alone."""
        if self._loaded is not None and self._loaded[0] == choice:
            return self._loaded[1]
        self._loaded = None
        _free_memory()
        pipe = self._load(choice)
        self._loaded = choice, pipe
        return pipe

    # ----------------------------------------------------------------------------------------------- the queue

    def _tell_places(self) -> None:
        for place, ticket in enumerate(self._queue.order()):
            if ticket.status.ahead != place or not ticket.status.said:
                said = f"Waiting: {place} before you." if place else "Waiting: you are next."
                ticket.change(ahead=place, said=said)

    def _forget_old(self) -> None:
        ended = [number for number, ticket in self._tickets.items() if ticket.status.ended]
        for number in ended[: max(0, len(ended) - _KEPT)]:
            del self._tickets[number]

    def _check_files(self, choice: ModelChoice) -> None:
        if self._own_files:
            return
        named = {
            choice.model,
            choice.motion_adapter,
            choice.controlnet,
            *choice.lora,  # a file's name may have a = of its own
            *(one.rpartition("=")[0] or None for one in choice.lora),
        }
        for name in named - self._trusted - {None}:
            if existing_path(str(name)) is not None or str(name).startswith(("/", ".", "~", "\\")):
                raise ByTheWayError(
                    "Files and folders of the studio's machine may not be named from elsewhere; give a known name or a "
                    "hub id (owner/name)."
                )


def _said(error: Exception) -> str:
    """What to tell about an error, in a sentence; one that is nobody's fault is shown in the terminal as well."""
    if isinstance(error, ByTheWayError):
        return str(error)
    if is_out_of_memory(error):
        return NO_MEMORY
    traceback.print_exception(error)
    first = (str(error).strip().splitlines() or [""])[0]
    if "CUDA error" in first:  # a process whose device failed once is refused by it from then on
        return f"The device failed; restart the studio. It said: {first}"
    return f"This went wrong, and is no fault of yours: {type(error).__name__}: {first}"


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
