"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

import bytheway


def describe(device: torch.device) -> dict[str, str]:
    """Hardware, threads, load, versions and date, as they stand now."""
    cpu = f"{processor()}, {os.cpu_count()} cores"
    packages = {"bytheway": revision(), "python": platform.python_version()}
    packages |= {name: version(name) for name in ("torch", "diffusers")}
    return {
        "hardware": cpu if device.type == "cpu" else f"{torch.cuda.get_device_name(device)}; {cpu}",
        "threads": str(torch.get_num_threads()),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "versions": ", ".join(f"{name} {number}" for name, number in packages.items()),
        "date": date.today().isoformat(),
    }


def revision() -> str:
    """The commit of the checkout that is measured, else the version that is installed."""
    git = partial(subprocess.run, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    try:
        commit = git(["git", "describe", "--always"]).stdout.strip()
        # Pages and results, which change with every figure, are no part of what is measured.
        changes = git(["git", "status", "--porcelain", "--", "src", "benchmarks", "study", "training"]).stdout
    except (OSError, subprocess.CalledProcessError):
        return bytheway.__version__
    return f"{commit}-dirty" if changes else commit


def processor() -> str:
    """The processor's own name where the system tells it (Linux), else its kind."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
