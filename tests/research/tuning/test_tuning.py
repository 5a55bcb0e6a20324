"""The comparison at toy size: made once, every way of finding settings in the table, on prompts that none has seen."""

from pathlib import Path

import pytest

from research.tuning.__main__ import study


def test_every_way_is_compared_and_nothing_made_twice(
    model_folder: Path,
    judge_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.nice", lambda by: 0)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setenv("BYTHEWAY_DATA", str(tmp_path / "data"))

    def run() -> str:
        study(2, 6, [13], str(model_folder), judge_folder, tmp_path, 2, 1)
        return capsys.readouterr().out

    out = run()
    for name in ("vanilla", "the paper's", "the preset", "auto", "search, 13 clips"):
        assert out.count(f"| {name} |") == (1 if name == "vanilla" else 2), name
    assert "2 prompts; below vanilla" in out
    assert (tmp_path / model_folder.name / "2-1" / "search-13" / "front.png").exists()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert run().partition("\n2 prompts")[2] == out.partition("\n2 prompts")[2]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == files
