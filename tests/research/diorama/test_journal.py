"""A run's own account of itself."""

import json
import sys
from pathlib import Path

import pytest
import torch

from research.diorama.journal import hours, note_start, summary


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_every_start_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["__main__.py", "--clips", "256"])
    for processes in (1, 2):
        note_start(tmp_path, processes)
    first, second = (json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines())
    assert first["command"][1:] == ["-m", "research.diorama", "--clips", "256"]
    assert (first["processes"], second["processes"]) == (1, 2)
    assert first["torch"] == torch.__version__
    assert first["hardware"] == second["hardware"] != ""


def test_time_between_a_stop_and_the_next_start_does_not_count(tmp_path: Path) -> None:
    times = [1000, 1900, 2800, 9000, 9900]
    write(tmp_path / "motion" / "loss.jsonl", [{"step": 20 * n, "time": time} for n, time in enumerate(times)])
    start = {"processes": 2, "hardware": "a mill"}
    write(tmp_path / "starts.jsonl", [start | {"time": 900}, start | {"time": 8950}])
    assert hours(tmp_path, "motion") == pytest.approx(2700 / 3600)
    assert hours(tmp_path, "early") == 0
    took = "autoencoder 0.0, spatial 0.0, motion 0.8, respaced 0.0, early 0.0"
    assert summary(tmp_path) == f"Trained for 0.8 hours ({took}) by 2 processes on a mill."
