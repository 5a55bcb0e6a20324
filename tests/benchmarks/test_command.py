"""``python -m benchmarks`` in its quick form."""

import os
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import app
from benchmarks.results import Measurement, Part, read, save


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as stopped:
        app()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_one_model_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--out", str(tmp_path), "--device", "cpu", "--quick", "--case", "cogvideox")
    assert call(monkeypatch, *where, "--figure", "run") == 0
    before = read(tmp_path, "cpu")["cogvideox"]
    assert list(before) == ["run"]
    assert before["run"].machine["OMP_WAIT_POLICY"] == os.environ["OMP_WAIT_POLICY"]
    active, other, run = before["run"].measurements
    assert active.values.keys() == run.values.keys() == {"vanilla", "ours", "plain"}
    assert run.values["ours"] == [5 * active.values["ours"][0] + 20 * other.values["ours"][0]]

    assert call(monkeypatch, *where, "--figure", "step", "--figure", "core") == 0
    after = read(tmp_path, "cpu")["cogvideox"]
    assert after.keys() == {"core", "step", "run"}
    assert after["run"] == before["run"]
    memory, syncs = after["step"].measurements
    assert memory.values["plain"] > memory.values["vanilla"]
    assert syncs.values["ours"] == syncs.values["vanilla"]
    printed = capsys.readouterr()
    assert printed.out.startswith("| | vanilla | ours |")
    assert "| an active step | " in printed.out
    assert printed.out.rindex("| joint attention") < printed.out.rindex("| weights") < printed.out.rindex("| a run")
    assert "diorama core" in printed.err
    assert "cogvideox" not in printed.err.splitlines()[-2]
    assert (tmp_path / "cost-cpu.png").exists()

    (tmp_path / "results-cpu.md").unlink()
    assert call(monkeypatch, "--out", str(tmp_path), "--show") == 0
    assert (
        "FreeInit: diffusers has FreeInit for AnimateDiff pipelines only" in (tmp_path / "results-cpu.md").read_text()
    )


def test_no_figure_is_begun_after_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--out", str(tmp_path), "--device", "cpu", "--minutes", "0") == 0
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no picture, and none is shown."""
    run = Measurement("run", "a run", "ms", {"vanilla": [1.0], "ours": [1.0]})
    machine = {"hardware": "a chip", "threads": "2", "load before": "0.1", "versions": "torch 9", "date": "2026-01-02"}
    save(tmp_path, "cpu", {"cogvideox": {"run": Part("A model", "", machine, [run])}})
    monkeypatch.delitem(sys.modules, "benchmarks.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert call(monkeypatch, "--out", str(tmp_path), "--device", "cpu", "--show") == 0
    assert "There is no picture, because matplotlib is not installed." in capsys.readouterr().err
    assert not (tmp_path / "cost-cpu.png").exists()
    assert "![" not in (tmp_path / "results-cpu.md").read_text()


def test_a_place_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert call(monkeypatch, "--out", str(tmp_path / "file"), "--device", "cpu", "--quick") == 2
    assert "file/results-cpu.json cannot be written: Not a directory" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--device", "cuda") == 2
    assert capsys.readouterr().err == "Error: There is no CUDA device here; leave out --device cuda.\n"
