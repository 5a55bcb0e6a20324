"""The command as a process: what surrounds it may be full, gone, or in a hurry."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from bytheway.clips.write import save_video

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="no full device here")


def process(
    code: str, *arguments: object, cwd: Path | None = None, **streams: object
) -> subprocess.CompletedProcess[str]:
    """Runs the console script with these arguments, after that code."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    begin = "import os, signal, sys\n" + code + "\nfrom bytheway.__main__ import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", begin, *map(str, arguments)],
        env=environment | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"},
        cwd=cwd,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
    )


@pytest.mark.parametrize(("chosen", "used"), [("", "passive"), ("os.environ['OMP_WAIT_POLICY'] = 'ACTIVE'", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_chose(chosen: str, used: str) -> None:
    """And that is said before torch is there, which reads it once."""
    look = """
class Look:
    def find_spec(self, name, *rest):
        if name in ("torch", "typer"):
            print(name, os.environ.get("OMP_WAIT_POLICY"))
sys.meta_path.insert(0, Look())
"""
    done = process(chosen + look, "inspect", "nothing-of-this-name")
    assert done.stdout.splitlines()[0] == f"typer {used}"
    assert f"torch {used}" in done.stdout.splitlines()


@pytest.mark.parametrize("module", ["typer", "bytheway.cli", "numpy", "torch"])
def test_an_interrupt_while_it_imports_shows_no_traceback(module: str) -> None:
    interrupt = f"""
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where this runs in the background
class Interrupt:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
"""
    done = process(interrupt, "generate", "a ball")
    if module in ("typer", "bytheway.cli"):
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    else:  # within a command
        assert done.returncode == 130
        assert done.stderr.endswith("Error: Interrupted; nothing was left half-written.\n")
        assert "Traceback" not in done.stderr


def test_an_interrupt_that_is_ignored_stays_so() -> None:
    done = process("signal.signal(signal.SIGINT, signal.SIG_IGN)\nos.kill(os.getpid(), signal.SIGINT)", "--help")
    assert done.returncode == 0


@full
@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["models"], ["--version"]])
def test_a_full_device_for_the_output(arguments: list[str]) -> None:
    with FULL.open("w") as stream:
        done = process("", *arguments, stdout=stream)
    assert (done.returncode, done.stderr) == (2, "Error: The output cannot be written: No space left on device.\n")


@full
def test_a_full_device_for_remarks(tmp_path: Path) -> None:
    """The exit code says the same, and the work is done all the same."""
    save_video(np.zeros((2, 8, 8, 3), np.uint8), tmp_path / "a.gif", 5, {"seed": 3})
    said = {}
    for arguments in (["show", "a.gif"], ["show", "b.gif"], ["nothing"], ["generate", "a ball", "--alpha", "7"]):
        with FULL.open("w") as stream:
            done = process("", *arguments, cwd=tmp_path, stderr=stream)
        said[" ".join(arguments)] = done.returncode
        assert "Traceback" not in done.stdout
    assert said == {"show a.gif": 0, "show b.gif": 2, "nothing": 2, "generate a ball --alpha 7": 2}


def test_no_streams_at_all() -> None:
    done = process("os.close(1); os.close(2); sys.stdout = sys.stderr = None", "models")
    assert done.returncode == 0


def test_an_output_that_may_not_grow(
    tmp_path: Path, nearly_full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with (tmp_path / "help").open("w") as stream, nearly_full_disk(1000):
        done = process("", "generate", "--help", stdout=stream)
    assert (done.returncode, done.stderr) == (2, "Error: The output cannot be written: File too large.\n")


@pytest.mark.parametrize("arguments", [["generate", "a ball"], ["inspect", "diorama"], ["show", "a.mp4"]])
def test_a_working_directory_that_is_gone(tmp_path: Path, arguments: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = process(f"os.rmdir({str(gone)!r})", *arguments, cwd=gone)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: The working directory is gone; change to one that is there.\n"


HOSTILE = (
    "a \x1b[31mred\x1b[0m \x1b]0;owned\x07ball \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1bc\x9b2J\x00\x08"
    "\x1bP1$q\x1b\\and\na\tline\x1b[?25l \x1b(0still\x7f\x85here \x1b]0;never closed"
)


@pytest.mark.parametrize("terminal", [False, True])
def test_what_a_terminal_would_obey_is_not_shown(tmp_path: Path, terminal: bool) -> None:
    settings = {"prompt": HOSTILE, "\x1b[2Jname": ["\x1b[31mx", {"\x1b[1my": 1}]}
    save_video(np.zeros((2, 8, 8, 3), np.uint8), tmp_path / "a.gif", 5, settings)
    force = "os.environ.update(FORCE_COLOR='1', COLUMNS='200', TERM='dumb')" if terminal else ""
    done = process(force, "show", tmp_path / "a.gif")
    assert done.returncode == 0
    shown = done.stdout
    assert "a red ball link and a line still here" in shown
    for obeyed in ("owned", "http", "\x07", "\x9b", "\x00", "\x08", "\x1b[2J", "\x1b[31m", "never closed"):
        assert obeyed not in shown
    if not terminal:
        assert "\x1b" not in shown
        assert "name: x, {'\\x1b[1my': 1}" in shown.splitlines()


def test_an_error_shows_no_sequences_either(tmp_path: Path) -> None:
    done = process("", "show", f"{tmp_path}/\x1b[31mno\x1b]0;owned\x07where.mp4")
    assert done.stderr == f"Error: There is no file {tmp_path}/nowhere.mp4.\n"
