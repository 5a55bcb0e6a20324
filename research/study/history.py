"""What was run when, on what and with which versions: a line of JSON for each run, in `runs.jsonl` of the store."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.machine import processor, revision

FILE = "runs.jsonl"


@dataclass(frozen=True)
class RunNote:
    """One run of `python -m research.study run` or `swap`."""

    command: str
    date: str
    hardware: str
    versions: str


def note_run(out: Path, command: str, processes: int) -> None:
    """Add a run to the history."""
    cpu = f"{processor()}, {os.cpu_count()} cores, {processes} processes of one thread"
    packages = {"bytheway": revision(), "python": platform.python_version()}
    packages |= {name: version(name) for name in ("torch", "diffusers", "transformers", "numpy", "scipy")}
    note = RunNote(
        command=command,
        date=date.today().isoformat(),
        hardware=torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        versions=", ".join(f"{name} {number}" for name, number in packages.items()),
    )
    with (out / FILE).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(note)) + "\n")


def runs(out: Path) -> list[RunNote]:
    """The history, oldest first."""
    path = out / FILE
    if not path.exists():
        return []
    return [RunNote(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
