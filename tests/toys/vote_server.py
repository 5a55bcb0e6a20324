"""`bytheway vote` as a process, as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A shell that runs tests in the background lets them ignore Ctrl-C; a terminal does not.
BEGIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from bytheway.__main__ import main
main()
"""


@dataclass
class Server:
    """A running server, and the address that it printed."""

    process: subprocess.Popen[str]
    address: str

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Its exit code and what it said on stderr, after a signal."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def served(run: Path, *options: object) -> AbstractContextManager[Server]:
    """The server of a run; whatever happens, it is gone at the end."""
    return running("vote", run, *options)


@contextmanager
def running(command: str, *arguments: object, **environment: str) -> Iterator[Server]:
    """A command that serves a page, whose first line is the address."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, command, "--no-browser", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.communicate()[1]
        yield Server(process, address)
    finally:
        process.kill()
        process.communicate()
