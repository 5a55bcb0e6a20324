"""`bytheway batch` and others as processes of their own, to be killed: diorama, two steps."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bytheway.clips.read import read_metadata
from bytheway.errors import ByTheWayError

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # seconds; for a machine that has other work


def begin(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """`bytheway` with these arguments."""
    own = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen(
        [sys.executable, "-m", "bytheway", *arguments],
        env={**os.environ, **own, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and what it said, at its end."""
    said = "".join(process.communicate(timeout=PATIENCE))
    return process.returncode, said


def start(out: Path, prompts: int, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The command, at work on so many prompts, with the same jobs file for the same number."""
    jobs = out.parent / f"jobs-{prompts}.txt"
    jobs.write_text("".join(f"a red ball rolling to the right on grass {number}\n" for number in range(prompts)))
    return begin("batch", str(jobs), "-o", str(out), "--steps", "2", *arguments, env=env)


def run(out: Path, prompts: int, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The command to its end: its exit code, and what it said."""
    return ended(start(out, prompts, *arguments, env=env))


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until something has happened that the process is to do."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, "".join(process.communicate())
        assert time.monotonic() < end
        time.sleep(0.05)


def names(out: Path) -> list[str]:
    """The clips that are there by their names."""
    return sorted(path.name for path in out.glob("enhanced/*.mp4"))


def digests(out: Path) -> dict[str, str]:
    """The digest of the frames of every clip that is there; each must be whole."""
    found = {}
    for path in out.glob("enhanced/*.mp4"):
        try:
            found[path.name] = read_metadata(path)["frames_sha256"]
        except ByTheWayError as error:
            raise AssertionError(f"{path} is half a clip") from error
    return found
