"""What is measured where time or the device is short."""

import time

import pytest
import torch

from benchmarks.cases import CASES, Model
from benchmarks.kernels import check_kernels
from benchmarks.measure import Figure, _Bench, figures_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(("left", "note"), [(600.0, ""), (0.01, "reckoned from the steps: 5 active ones, 20 others")])
def test_runs_for_which_there_is_no_time_are_reckoned(left: float, note: str) -> None:
    bench = _Bench(CASES[Model.DIORAMA], CPU, quick=True, end=float("inf"))
    assert bench.subject
    bench.end = time.monotonic() + left
    _, rows, _, _ = bench.measure(Figure.RUN)
    run = rows[-1]
    assert run.figure == "run"
    assert run.note.startswith(note)
    assert bool(run.note) is bool(note)
    assert run.values.keys() == {"vanilla", "ours", "plain", "FreeInit"}


def test_kernels_are_a_figure_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert figures_of(Model.ANIMATEDIFF, "cuda") == list(Figure)
    assert figures_of(Model.ANIMATEDIFF, "cpu") == [figure for figure in Figure if figure != "kernels"]
    assert figures_of(Model.COGVIDEOX, "cuda") == ["core", "step", "run"]
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert Figure.KERNELS in figures_of(Model.ANIMATEDIFF, "cpu")


def test_kernels_that_were_not_tried_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bytheway.attention.triton.supports", lambda *_: False)
    words, missing = check_kernels(CPU, True, time.monotonic() + 60)
    assert not words
    assert missing[0] == (
        "8 frames, 2 heads of 40 channels, float16: Triton does not run here, or its kernels do not support this"
    )
    words, missing = check_kernels(CPU, True, time.monotonic() - 1)
    assert not words
    assert {line.partition(": ")[2] for line in missing} == {"there was no time"}
