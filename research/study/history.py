"""What was run when, on what and with which versions: a line of JSON for each run, in `runs.jsonl` of the store."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch

from research.machine import processor, versions

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
    note = RunNote(
        command=command,
        date=date.today().isoformat(),
        hardware=torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        versions=versions(("torch", "diffusers", "transformers", "numpy", "scipy")),
    )
    with (out / FILE).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(note)) + "\n")


def runs(out: Path) -> list[RunNote]:
    """The history, oldest first."""
    path = out / FILE
    if not path.exists():
        return []
    return [RunNote(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
