"""`bytheway inspect --clips`: findings, pictures, and a fit where there are enough clips."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from bytheway.diagnosis.store import fits_folder
from bytheway.evaluation.measures.measure import Measurement
from tests.toys import joint

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("BYTHEWAY_DATA", str(folder))
    return folder


@pytest.mark.filterwarnings("ignore:.*has never read:UserWarning")
def test_findings_and_pictures(bytheway: Command, tiny_folder: Path) -> None:
    result = bytheway("inspect", tiny_folder, "--clips", 2, "-o", "pictures/a.png", "--device", "cpu")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    rows = {row[0]: row for row in (line.split("\t") for line in lines) if len(row) == 4}
    topics = ["anchor", "motion", "structure", "parting", "beta", "schedule"]
    assert [topic for topic in rows if topic in topics] == topics
    assert rows["topic"] == ["topic", "found", "finding", "what to try"]
    assert {rows[topic][1] for topic in topics} <= {"yes", "no"}
    assert sum(line.startswith(tuple(f"{topic}: " for topic in topics)) for line in lines) == 6
    assert Path("pictures/a.png").stat().st_size > 10_000
    assert Path("pictures/a-maps.png").stat().st_size > 10_000
    assert not fits_folder(str(tiny_folder)).exists()


def test_enough_clips_are_measured_and_fitted(
    bytheway: Command, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Flow:
        names = ("flow_mean",)

        def __call__(self, frames: Any, fps: float, prompt: str) -> tuple[Measurement, ...]:
            seen.append(prompt)
            change = float(np.abs(np.diff(frames.astype(float), axis=0)).mean())
            return (Measurement("flow_mean", change, (), (), "pair", "px", None, False),)

    monkeypatch.setattr("bytheway.cli.diagnosing.measures_at_hand", lambda: ((Flow(),), {"raft": "It is not here."}))
    result = bytheway("inspect", tiny_folder, "--clips", 24, "--seed", 3, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert len(set(seen)) == 24
    assert "Left out: raft. It is not here." in result.stderr
    assert "motion: mean optical flow: Spearman's rho " in result.stdout
    (path,) = fits_folder(str(tiny_folder)).iterdir()
    assert f"kept in: {path}" in result.stdout


def test_pictures_without_clips(bytheway: Command) -> None:
    result = bytheway("inspect", "diorama", "-o", "a.png")
    assert result.exit_code == 2
    assert "say how many with --clips" in result.stderr


def test_a_picture_of_no_kind_is_refused_before_the_model_is_loaded(bytheway: Command) -> None:
    result = bytheway("inspect", "no-such-model", "--clips", 2, "-o", "a.txt")
    assert result.exit_code == 2
    assert "let it end in .png" in result.stderr


def test_models_without_maps(bytheway: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bytheway.models.choice.load", lambda model, **choice: joint.wan()[0])
    result = bytheway("inspect", "wan", "--clips", 2)
    assert result.exit_code == 2
    assert "has no temporal attention maps to record" in result.stderr
