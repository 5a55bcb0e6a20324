"""The other commands, the help, and how quickly it is there."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import Result

from bytheway.clips.write import save_video
from bytheway.config import ByTheWayConfig
from bytheway.families.sites import find_sites
from bytheway.models import known_models

Command = Callable[..., Result]
COMMANDS = ["generate", "show", "models", "inspect", "score", "compare", "evaluate", "measures", "convert"]
HEAVY = ["torch", "diffusers", "transformers", "numpy", "PIL", "av", "huggingface_hub", "pandas"]


def test_show(bytheway: Command, tmp_path: Path) -> None:
    settings = {"prompt": "a [red] ball", "seed": 3, "config": {"alpha": 0.6, "anchor_block": None}, "compare": True}
    save_video(np.zeros((2, 8, 8, 3), np.uint8), tmp_path / "a.gif", 5, settings)
    result = bytheway("show", "a.gif")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "prompt: a [red] ball",
        "seed: 3",
        "config.alpha: 0.6",
        "config.anchor_block: -",
        "compare: yes",
        "num_frames: 2",
        "fps: 5",
        f"frames_sha256: {hashlib.sha256(bytes(2 * 8 * 8 * 3)).hexdigest()}",
    ]


@pytest.mark.parametrize(("name", "said"), [("none.mp4", "There is no file"), ("text.mp4", "is not a video")])
def test_show_refuses(bytheway: Command, name: str, said: str) -> None:
    Path("text.mp4").write_text("no clip")
    result = bytheway("show", name)
    assert result.exit_code == 2
    assert said in result.stderr


def test_models(bytheway: Command) -> None:
    result = bytheway("models")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    header, *rows = (line.split("\t") for line in lines if "\t" in line)
    middle = rows.index(["name", "preset", "settings of", "measured"])
    models, presets = rows[:middle], rows[middle + 1 :]
    assert header == ["name", "family", "present", "comes from"]
    names = [model.name for model in known_models()]
    assert [row[0] for row in models] == [row[0] for row in presets] == names
    assert {row[2] for row in models} <= {"yes", "no"}
    said = {name: (preset, source, figure) for name, preset, source, figure in presets}
    paper = ("the paper, for clips of 16 frames at 512x512", "the paper's Tables 1 and 2; not repeated by us")
    assert said["animatediff"] == ("animatediff", *paper)
    assert said["animatediff-sdxl"] == ("animatediff", paper[0], "unmeasured")
    assert said["diorama"][2].startswith("optical flow +")
    descriptions = dict(line.split(": ", 1) for line in lines[-len(names) :])
    assert list(descriptions) == names
    assert descriptions["pia"].endswith("animates an image (--image)")
    assert descriptions["sparsectrl-scribble"].endswith("for any of the frames (--sketch)")


def test_inspect(bytheway: Command, tiny_folder: Path, tiny_pipeline: Any) -> None:
    result = bytheway("inspect", tiny_folder)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    header, *rows = (line.split("\t") for line in lines if "\t" in line)
    assert header == ["block", "sites", "resolution", "heads", "role"]
    blocks = {block: rest for block, _, *rest in rows}
    assert blocks["up_blocks.1"] == ["2x2", "4", "anchor"]
    assert blocks["up_blocks.3"] == ["8x8", "4", "guided"]
    assert blocks["down_blocks.0"] == ["8x8", "4", "observed"]
    sites = find_sites(tiny_pipeline.unet, ByTheWayConfig())
    assert sum(int(count) for _, count, *_ in rows) == len(sites)
    assert "preset: animatediff: alpha 0.6, beta 1.5, tau 7, in the first 20% of the steps" in lines
    assert "words: a, ball, red" in lines


def test_weights_in_the_older_format_are_no_error(
    bytheway: Command, tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(copytree(tiny_folder, tmp_path / "older"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    assert bytheway("inspect", folder).exit_code == 0
    assert caplog.records == []


def test_inspect_refuses(bytheway: Command) -> None:
    result = bytheway("inspect", "dioramo")
    assert result.exit_code == 2
    assert "did you mean diorama" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(bytheway: Command, command: str) -> None:
    result = bytheway(command, "--help")
    assert result.exit_code == 0
    assert "Usage: bytheway" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    commands = [[], *([name] for name in COMMANDS), ["convert", "videocrafter2"]]
    code = (
        "import sys; from typer.testing import CliRunner; from bytheway.cli import app\n"
        f"for command in {commands}:\n"
        "    assert CliRunner().invoke(app, [*command, '--help']).exit_code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_bad_input_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from bytheway.cli import app\n"
        "assert CliRunner().invoke(app, ['generate', 'a ball', '--alpha', '7']).exit_code == 2\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "bytheway", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Usage: bytheway" in done.stdout
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("shell", "words", "offered"),
    [("bash", "bytheway ge", "generate"), ("bash", "bytheway generate --comp", "--compare")],
)
def test_completion(shell: str, words: str, offered: str) -> None:
    environment = {
        "_BYTHEWAY_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run([sys.executable, "-m", "bytheway"], capture_output=True, text=True, env=environment)
    assert offered in done.stdout.split()


@pytest.mark.parametrize(("encoding", "said"), [("utf-8:strict", "象 \\ud800"), ("latin-1", "\\u8c61 \\ud800")])
def test_what_the_terminal_cannot_show_is_escaped(tmp_path: Path, encoding: str, said: str) -> None:
    clip = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    save_video(clip, tmp_path / "a.gif", metadata={"prompt": "象 \ud800"})
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "bytheway", "show", str(tmp_path / "a.gif")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0
    assert f"prompt: {said}\n" in done.stdout
