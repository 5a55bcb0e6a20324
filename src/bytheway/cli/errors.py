"""What goes wrong on a user's side, in one sentence and with exit code 2; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Never, TextIO

import typer

from bytheway.cli.tables import printable, warn
from bytheway.cli.words import sentence_of
from bytheway.errors import ByTheWayError, ByTheWayWarning, is_out_of_memory

EXIT_BAD_INPUT = 2
EXIT_SIGNALLED = 128  # and the signal's number, the shells' convention

_STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_NETWORK_LIBRARIES = {"httpx", "httpcore", "requests", "urllib3"}
_NETWORK_ERRORS = (ConnectionError, socket.gaierror, TimeoutError)
_FULL_OR_READ_ONLY = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_OUT_OF_REACH = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


@contextmanager
def reported() -> Iterator[None]:
    """Ends the command with a sentence on stderr and an exit code where the user can do something about an error."""
    try:
        with _signals_as_interrupts(), _own_warnings_as_remarks():
            _check_working_directory()
            yield
    except KeyboardInterrupt as interrupt:
        _say("Interrupted; nothing was left half-written.")
        raise typer.Exit(EXIT_SIGNALLED + getattr(interrupt, "number", signal.SIGINT)) from None
    except Exception as error:
        sentence = sentence_for(error)
        if sentence is None:
            raise
        _say(sentence)
        raise typer.Exit(EXIT_BAD_INPUT) from None


@contextmanager
def output_spared() -> Iterator[None]:
    """Ends the command with a sentence where what it prints cannot be written, as on a full disk."""
    try:
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except OSError as error:
        if error.errno not in _FULL_OR_READ_ONLY:
            raise
        _say(f"The output cannot be written: {error.strerror}.")
        _leave_unwritten()
        sys.exit(EXIT_BAD_INPUT)


def _leave_unwritten() -> None:
    """What is left in the buffers of full devices goes nowhere, for Python would try once more at its end, and fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _check_working_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise ByTheWayError("The working directory is gone; change to one that is there.") from error


class _Signalled(KeyboardInterrupt):
    """A request to end, Ctrl-C or another."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Requests to end raise KeyboardInterrupt, where nobody chose otherwise (`nohup` ignores SIGHUP)."""
    heard = threading.current_thread() is threading.main_thread()  # no other thread may handle signals
    handled = [number for number in _STOPPING if heard and signal.getsignal(number) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> Never:
    raise _Signalled(number)


@contextmanager
def _own_warnings_as_remarks() -> Iterator[None]:
    """What this package warns of is said in a line; warnings of others keep their form."""
    with warnings.catch_warnings():
        theirs = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, ByTheWayWarning):
                warn(str(message))
            else:
                theirs(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def sentence_for(error: BaseException) -> str | None:
    """What to tell the user about an error; None for one that is no fault of theirs."""
    if isinstance(error, ByTheWayError):
        return sentence_of(error)
    if is_out_of_memory(error):
        return "There is not enough memory; try fewer --frames, a smaller --size or --dtype float16."
    if _is_network(error):
        return "The network cannot be reached; check the connection, or give a model that is on this machine."
    if isinstance(error, OSError) and error.errno in _FULL_OR_READ_ONLY:
        return f"{error.filename or 'The output'} cannot be written: {error.strerror}."
    if isinstance(error, OSError) and error.errno in _OUT_OF_REACH:
        return f"{error.filename or 'A file'} cannot be opened: {error.strerror}."
    return None


def _is_network(error: BaseException) -> bool:
    # by module name, for importing the libraries to ask for their classes would take longer than most commands
    libraries = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if isinstance(error, BrokenPipeError):  # a ConnectionError too, of `bytheway ... | head`, which Typer sees to
        return False
    return isinstance(error, _NETWORK_ERRORS) or bool(libraries & _NETWORK_LIBRARIES)


def _say(sentence: str) -> None:
    with suppress(OSError):  # nobody can be told
        typer.echo(typer.style("Error: ", fg="red", bold=True) + printable(sentence), err=True)
