"""`bytheway generate --best-of`: what it makes, says and refuses; and what a fit says while clips are made."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bytheway.clips.read import read_metadata
from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.fit import Fit, Predictor, Skill
from bytheway.diagnosis.store import fingerprint_of, fit_path, save_fit
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.selection.conditions import conditions_of

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("BYTHEWAY_DATA", str(folder))
    return folder


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_the_table_the_files_and_that_each_is_the_one_of_its_seed(generate: Command) -> None:
    result = generate("a ball", "a star", "--best-of", 3, "--keep", 2, "--seed", 5, "-o", "out.mp4", "--aim", "motion")
    assert result.exit_code == 0, result.output
    header, *rows = [line.split("\t") for line in result.stdout.splitlines() if line.count("\t") == 4]
    assert header == ["seed", "motion", "structure", "kept", "why"]
    assert [row[0] for row in rows[:3]] == ["5", "6", "7"]
    assert sorted(float(row[1]) for row in rows[:3] if row[3] == "yes") == sorted(float(row[1]) for row in rows[:3])[1:]
    assert sum("stopped after 1 steps" in row[4] for row in rows) == 2
    made = [read_metadata(f"out-{number}.mp4") for number in range(1, 5)]
    assert [one["prompt"] for one in made] == ["a ball", "a ball", "a star", "a star"]
    places = {row[4].split()[1]: int(row[0]) for row in rows[:3]}
    assert [one["seed"] for one in made[:2]] == [places["1"], places["2"]]
    assert "energy of the guided blocks" in result.stderr
    assert "bytheway inspect diorama --clips 24" in result.stderr
    again = generate("a ball", "--seed", places["1"], "-o", "alone.mp4")
    assert again.exit_code == 0
    assert digest("alone.mp4") == digest("out-1.mp4")


def test_the_seed_that_is_drawn_is_told(generate: Command) -> None:
    result = generate("a ball", "--best-of", 2, "-o", "a.gif")
    assert result.exit_code == 0, result.output
    assert "begins the same 2 again" in result.stderr
    assert "denoising: " in result.stderr or result.stderr.count("\n") < 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--keep", 2], "say among how many with --best-of"),
        (["--aim", "motion"], "say among how many with --best-of"),
        (["--best-of", 3, "--num-videos", 2], "leave --num-videos"),
        (["--best-of", 3, "--skip-existing"], "leave --skip-existing"),
        (["--best-of", 3, "--keep", 3], "--keep is 3 of 3 seeds"),
        (["--best-of", 1], "--keep is 1 of 1 seeds"),
    ],
)
def test_options_that_contradict_each_other(bytheway: Command, options: list[Any], said: str) -> None:
    result = bytheway("generate", "a ball", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_cannot_be_chosen_among(generate: Command) -> None:
    result = generate("a ball", "--best-of", 2, "--compare")
    assert result.exit_code == 2
    assert "without a comparison" in result.stderr


def fitted(pipe: Any, **changes: Any) -> Fit:
    request = Request(("a",), seed=1, num_frames=4, width=16, height=16, steps=4, config=ByTheWayConfig(alpha=0.3))
    skill = Skill("AUC", 0.9, 0.8, 0.95)
    still = Predictor("no dynamic degree", "chance", ("energy of up_blocks.3",), (0.0,), (1.0,), (0.0,), 1.4, skill)
    conditions = conditions_of(pipe, check(request, pipe))
    fit = Fit("diorama", fingerprint_of(pipe), conditions, 32, {"near_static": still}, {})
    return replace(fit, **changes)


def test_a_fit_says_the_odds_after_the_active_steps(generate: Command, tiny_pipeline: Any) -> None:
    assert "likely" not in generate("a ball", "--alpha", 0.3, "-o", "a.mp4", "--seed", 1).stderr
    save_fit(fitted(tiny_pipeline))
    result = generate("a ball", "--alpha", 0.3, "-o", "b.mp4", "--seed", 1, "--num-videos", 2)
    assert result.exit_code == 0, result.output
    said = "likely near-static, 4.1 to 1 (AUC 0.90 [0.80, 0.95] in the fit on 32 clips)"
    assert f"clip 1/2: {said}" in result.stderr
    assert f"clip 2/2: {said}" in result.stderr
    assert read_metadata("b-1.mp4") == read_metadata("a.mp4")
    assert "likely" not in generate("a ball", "--alpha", 0.4, "-o", "c.mp4", "--seed", 1).stderr
    assert "likely" not in generate("a ball", "--alpha", 0.3, "-o", "d.mp4", "--no-enhance").stderr


def test_a_fit_is_what_seeds_are_chosen_by(generate: Command, tiny_pipeline: Any) -> None:
    save_fit(fitted(tiny_pipeline))
    result = generate("a ball", "--alpha", 0.3, "-o", "b.mp4", "--seed", 1, "--best-of", 2)
    assert result.exit_code == 0, result.output
    header, *rows = [line.split("\t") for line in result.stdout.splitlines() if line.count("\t") == 5]
    assert header == ["seed", "motion", "structure", "near-static", "kept", "why"]
    assert [row[3] for row in rows] == ["80%", "80%"]
    assert "By the fit of diorama on 32 clips." in result.stderr


def test_a_damaged_fit_is_said_and_left(generate: Command, tiny_pipeline: Any) -> None:
    fit = fitted(tiny_pipeline)
    path = fit_path("diorama", fit.fingerprint, fit.conditions)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"format": 1, "predictors": "none"}))
    result = generate("a ball", "--alpha", 0.3, "-o", "a.mp4")
    assert result.exit_code == 0
    assert "Warning" in result.stderr
    assert "damaged or none of bytheway's; fit the model anew" in result.stderr
