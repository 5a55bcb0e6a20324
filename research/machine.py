"""What figures are measured on and with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import bytheway


def versions(packages: Iterable[str]) -> str:
    """This project's revision and the versions of Python and of the packages, in one line."""
    found = {"bytheway": revision(), "python": platform.python_version()} | {name: version(name) for name in packages}
    return ", ".join(f"{name} {number}" for name, number in found.items())


def revision() -> str:
    """The commit of the checkout that is measured, else the version that is installed."""
    git = partial(subprocess.run, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    try:
        commit = git(["git", "describe", "--always"]).stdout.strip()
        # Pages and results, which change with every figure, are no part of what is measured.
        changes = git(["git", "status", "--porcelain", "--", "src", "benchmarks", "research"]).stdout
    except (OSError, subprocess.CalledProcessError):
        return bytheway.__version__
    return f"{commit}-dirty" if changes else commit


def processor() -> str:
    """The processor's own name where the system tells it (Linux), else its kind."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
