"""`bytheway tune`: settings from a model's own maps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bytheway.config import ByTheWayConfig
from tests.toys import joint

Command = Callable[..., Result]


@pytest.mark.filterwarnings("ignore:.*has never read:UserWarning")
def test_settings_are_derived_kept_and_used(bytheway: Command, tiny_folder: Path) -> None:
    Path("prompts.txt").write_text("a cat\na dog\n")
    result = bytheway(
        "tune", tiny_folder, "--clips", 4, "--prompts", "prompts.txt", "-o", "auto.toml", "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    assert "guided block\tenergy\tdistance to the anchor\talpha up to" in result.stdout
    assert "alpha: Guidance adds no energy to up_blocks." in result.stdout
    config = ByTheWayConfig.load("auto.toml")
    assert f"auto: alpha {config.alpha:g}, beta {config.beta:g}, tau {config.tau}" in result.stdout
    made = bytheway("generate", "a cat", "--model", tiny_folder, "--config", "auto.toml", "--steps", 2, "-o", "a.mp4")
    assert made.exit_code == 0, made.output


def test_a_wrong_ending_is_said_before_the_model_is_loaded(bytheway: Command) -> None:
    result = bytheway("tune", "nothing", "-o", "auto.yaml")
    assert result.exit_code == 2
    assert "auto.yaml is neither a .toml nor a .json file" in result.stderr


def test_models_without_maps(bytheway: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: str, **choice: Any) -> Any:
        return joint.wan()[0]

    monkeypatch.setattr("bytheway.models.choice.load", load)
    result = bytheway("tune", "wan", "--device", "cpu")
    assert result.exit_code == 2
    assert "has no temporal attention maps, which alpha, beta, tau, anchor_block would be found from" in result.stderr
