"""The commands of the training: wrong places and numbers are a sentence and exit code 2."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from research.diorama import __main__ as train
from research.diorama import card, report


@pytest.mark.parametrize(
    ("main", "options", "said"),
    [
        (train.main, ["--out", "file"], "file/rendezvous cannot be written: Not a directory"),
        (train.main, ["--out", "folder", "--shipped", "file"], "file/model_index.json cannot be written"),
        (train.main, ["--processes", "0"], "Invalid value for '--processes'"),
        (report.main, ["--out", "file"], "file/report.json cannot be written"),
        (report.main, ["--count", "0"], "Invalid value for '--count'"),
        (card.main, ["--out", "nowhere"], "'nowhere' does not exist"),
        (card.main, ["--out", "folder"], "There is no report.json in folder"),
        (card.main, ["--out", "damaged"], "report.json of damaged is damaged"),
    ],
)
def test_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: Callable[..., None], options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    Path("damaged").mkdir()
    Path("damaged/report.json").write_text("{")
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, options, terminal_width=200)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not list(Path("folder").iterdir())
