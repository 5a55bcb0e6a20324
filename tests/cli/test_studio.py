"""The options of `bytheway studio`; what it serves is in tests/studio."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from bytheway.cli import app


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen"], "give --auth NAME:PASSWORD"),
        (["--auth", "ann"], "with a colon between"),
        (["--auth", ":x"], "with a colon between"),
        (["--queue", "0"], "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_said(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["studio", "--no-browser", *options])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_what_is_not_installed_is_said_in_a_sentence(missing: str) -> None:
    code = f"""
import sys
class Block:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == {missing!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
sys.argv = ["bytheway", "studio", "--no-browser"]
from bytheway.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: A page in the browser needs starlette and uvicorn; install them (pip install")
