"""The benchmark of recording, predicting and choosing runs, at toy size."""

import pytest

from benchmarks.cases import Model
from benchmarks.selection import benchmark


def test_it_says_what_each_part_costs(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark(Model.VIDEOCRAFTER2, 3, "cpu", True)
    out = capsys.readouterr().out
    assert "an active step takes" in out
    assert "recording adds " in out
    assert "once a clip: " in out
    assert "choosing among 8: " in out
