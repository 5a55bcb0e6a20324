"""The options of `bytheway studio`; what it serves is in tests/studio."""

from __future__ import annotations

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
