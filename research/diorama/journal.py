"""What a run says of itself: every start of the command, and from the losses' times how long each stage took."""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from research.machine import processor

STARTS = "starts.jsonl"
STAGES = ("autoencoder", "spatial", "motion", "respaced", "early")


def note_start(out: Path, processes: int) -> None:
    """Add a line to ``starts.jsonl``: when, the command, processes, hardware, the version of torch."""
    start = {
        "time": round(time.time()),
        "command": [Path(sys.executable).name, "-m", "research.diorama", *sys.argv[1:]],
        "processes": processes,
        "hardware": _hardware(),
        "torch": torch.__version__,
    }
    with (out / STARTS).open("a") as file:
        print(json.dumps(start), file=file)


def hours(out: Path, stage: str) -> float:
    """How long a stage was trained, without what lay between a stop and the next start; 0 where it was not."""
    log = out / stage / "loss.jsonl"
    if not log.exists():
        return 0.0
    times = [row["time"] for row in _rows(log)]
    starts = [start["time"] for start in _rows(out / STARTS)]
    # A start between two lines of the log means that nothing was trained for some of that time.
    worked = (after - before for before, after in pairwise(times) if not any(before < at <= after for at in starts))
    return float(sum(worked)) / 3600


def summary(out: Path) -> str:
    """How long the run was trained and on what, a sentence for the model card."""
    starts = _rows(out / STARTS)
    took = {stage: hours(out, stage) for stage in STAGES}
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in took.items())
    hardware = "; ".join(dict.fromkeys(start["hardware"] for start in starts))
    processes = max(start["processes"] for start in starts)
    return f"Trained for {sum(took.values()):.1f} hours ({stages}) by {processes} processes on {hardware}."


def _hardware() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({processor()})"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
