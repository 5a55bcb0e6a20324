"""``python -m benchmarks.evaluation`` on a measure without a network."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.evaluation import ONE, TOGETHER, app


def test_what_a_measure_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--rounds", "2", "--side", "256", "--only", "flickering", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.evaluation", *arguments])
    with pytest.raises(SystemExit) as stopped:
        app()
    assert stopped.value.code == 0
    found = json.loads((tmp_path / "measures-cpu.json").read_text())
    (cost,) = found["costs"]
    assert {name: len(seconds) for name, seconds in cost["seconds"].items()} == {TOGETHER: 2, ONE: 2}
    assert all(second > 0 for seconds in cost["seconds"].values() for second in seconds)
    assert cost["peak"] >= cost["before"] > 0
    page = (tmp_path / "measures-cpu.md").read_text()
    assert "A clip is 16 frames of 256x256" in page
    assert "| temporal flickering | 0." in page


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is here")
def test_what_cannot_be_measured_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.evaluation", "--only", "RAFT", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        app()
    assert stopped.value.code == 0
    page = (tmp_path / "measures-cpu.md").read_text()
    assert "Not measured: dynamic degree and the four flow measures (RAFT-large): RAFT requires torchvision" in page
