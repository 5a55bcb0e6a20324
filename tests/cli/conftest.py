"""The command line in this process, on the tiny pipeline."""

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bytheway.cli import app

SMALL = ["--frames", "4", "--size", "16x16", "--steps", "4"]


@pytest.fixture
def bytheway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Runs `bytheway` with these arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    yield lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])
    gc.unfreeze()  # a command keeps to its end what it has loaded; this process goes on


@pytest.fixture
def generate(
    bytheway: Callable[..., Result], tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs `bytheway generate` with these arguments on the tiny pipeline, for small clips, nothing unusual."""
    monkeypatch.setattr("bytheway.cli.run.beyond_training", lambda job: [])
    monkeypatch.setattr("bytheway.models.choice.load", lambda model, **choice: tiny_pipeline)
    return lambda *arguments: bytheway("generate", *SMALL, *arguments)


@pytest.fixture
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, pipeline_factory: Callable[..., Any]) -> Path:
    """The tiny pipeline as a model folder that knows three words, saved once."""
    folder = tmp_path_factory.getbasetemp() / "tiny"
    if not folder.exists():
        pipeline_factory().save_pretrained(folder)
        defaults = {"num_frames": 4, "size": [16, 16], "steps": 2, "guidance_scale": 2.0, "fps": 5}
        (folder / "world.json").write_text(json.dumps({"words": ["a", "red", "ball"], "defaults": defaults}))
    return folder
