"""Sentences of the core hold for every front end; the command line names its options."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

import bytheway
from bytheway.cli import app
from bytheway.cli.words import OPTIONS, sentence_of, with_option
from bytheway.errors import ByTheWayError
from bytheway.families.known import known_models

PACKAGE = Path(str(bytheway.__file__)).parent
ROOMS = ["attention", "apply", "clips", "evaluation", "families", "generation", "models"]


def texts(file: Path) -> Iterator[str]:
    """What a file can say: its strings, docstrings left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, owners)}
    strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    yield from (text for text in strings if text not in docstrings)


@pytest.mark.parametrize("room", ROOMS)
def test_the_core_knows_no_options(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    said = [(file.name, text) for file in files for text in texts(file) if re.search(r"(^|[\s(])--[a-z]", text)]
    # pip has options too, and style sheets have names like them
    assert [one for one in said if not re.search(r"^pip install|--\w+:", one[1])] == []


def settings_of_errors() -> set[str]:
    """Every `setting=` of a `ByTheWayError` in the package."""
    pattern = re.compile(r'setting="(\w+)"')
    return {name for file in PACKAGE.rglob("*.py") for name in pattern.findall(file.read_text(encoding="utf-8"))}


def test_every_setting_has_an_option_that_there_is() -> None:
    started = {model.start for model in known_models() if model.start is not None}
    assert settings_of_errors() | started <= OPTIONS.keys()
    command: Any = typer.main.get_command(app)
    there = {
        name
        for one in ("generate", "evaluate", "judge", "vote", "tune")
        for parameter in command.commands[one].params
        for name in parameter.opts
    }
    assert {option for option in OPTIONS.values() if option.startswith("--")} <= there


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ByTheWayError("It starts from\nan image; give one.", setting="images"), "from an image; give one (--image)."),
        (ByTheWayError("It is wrong; mend it."), "It is wrong; mend it."),
        (ByTheWayError("Nobody sets that.", setting="nothing"), "Nobody sets that."),
    ],
)
def test_the_option_comes_before_the_full_stop(error: ByTheWayError, said: str) -> None:
    assert sentence_of(error).endswith(said)
    assert "\n" not in sentence_of(error)


def test_descriptions_are_no_sentences() -> None:
    assert with_option("animates an image", "image") == "animates an image (--image)"
    assert with_option("a small model", None) == "a small model"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--frames", 0], "num_frames is 0; it must be at least 1 (--frames)."),
        (["--size", "20x16"], "both must be multiples of 8 (--size)."),
        (["--batch-size", 2, "--record", "r.csv"], "leave the batch size out (--batch-size)."),
    ],
)
def test_on_the_command_line(generate: Callable[..., Result], arguments: list[object], said: str) -> None:
    result = generate("a ball", *arguments)
    assert result.exit_code == 2
    assert result.stderr.strip().endswith(said)


def test_a_model_without_motion(bytheway: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "SD", "unet": ["diffusers", "UNet2DConditionModel"]}')
    result = bytheway("generate", "a ball", "--model", tmp_path)
    assert result.stderr.strip().endswith("guoyww/animatediff-motion-adapter-v1-5-3 (--motion-adapter).")
