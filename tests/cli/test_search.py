"""`bytheway tune --search` on the packaged model, and settings that are left to a model on the command line."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from bytheway.clips.read import read_metadata
from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.folder import kept_folder

Command = Callable[..., Result]


class Even(torch.nn.Module):
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return -frames.std((1, 2, 3))


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BYTHEWAY_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def search(bytheway: Command) -> Command:
    """A search of the fewest clips there can be, of two steps each, which has a network of its own for structure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.trace(Even(), torch.zeros(2, 3, 32, 32)).save("even.pt")  # type: ignore[no-untyped-call]
    prompts = (f"a {colour} {thing} on grass" for colour in ("red", "blue", "white") for thing in ("ball", "box"))
    Path("prompts.txt").write_text("\n".join(f"{one}{end}" for one in prompts for end in ("", " in the snow")))
    usual = (
        "--prompts",
        "prompts.txt",
        "--folder",
        "found",
        "--steps",
        2,
        "--device",
        "cpu",
        "--bring",
        "even=even.pt",
    )
    return lambda *more: bytheway("tune", "diorama", "--search", *usual, *more)


def test_a_search_ends_with_a_front_a_chosen_point_and_a_preset(search: Command, bytheway: Command) -> None:
    wanted = "--objectives=-temporal_flickering,even"
    result = search("--budget", 12, wanted, "-o", "tuned.toml")
    assert result.exit_code == 0, result.output
    assert "Objectives: less temporal_flickering, even" in result.stderr
    assert "Searching by 6 prompts, 6 are held out; 0 clips and 0 trials are there already." in result.stderr
    assert "front: gains over vanilla\tless temporal_flickering\teven" in result.stdout
    assert "chosen, on 6 held-out prompts\tgain over vanilla\tgain over the preset" in result.stdout
    assert "rule: of the front the one whose least gain is greatest" in result.stdout
    assert "tried: 1 trials, 0 dropped early" in result.stdout
    assert Path("found/front.png").stat().st_size > 1000
    chosen = ByTheWayConfig.load("tuned.toml")
    assert ByTheWayConfig.load("found/tuned.toml") == chosen
    clips = {path: path.stat().st_mtime_ns for path in Path("found/clips").rglob("*.mp4")}
    assert len(clips) == 24, "12 to search by, and of each held-out prompt a vanilla one and one of the preset"
    facts = json.loads(Path("found/search.json").read_text())
    searched, held = (
        [when for path, when in clips.items() if path.stem[:-2] in facts[name]] for name in ("prompts", "held_out")
    )
    assert len(searched) == len(held) == 12
    assert max(searched) < min(held), "what is held out is not looked at before the config is chosen"

    listed = bytheway("models")
    assert "tuned here\tsettings\tgain on held-out prompts\tfor --config" in listed.stdout
    (line,) = (line for line in listed.stdout.splitlines() if line.startswith("diorama\talpha"))
    assert "less temporal_flickering" in line
    made = bytheway("generate", "a ball", "--steps", 2, "--config", line.split("\t")[-1], "-o", "a.mp4")
    assert made.exit_code == 0, made.output
    assert read_metadata("a.mp4")["config"] == chosen.to_dict()

    again = search("--budget", 12, wanted)
    assert again.exit_code == 0, again.output
    assert "12 clips and 1 trials are there already" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in Path("found/clips").rglob("*.mp4")} == clips
    other = search("--budget", 12, "--objectives=temporal_flickering,even")
    assert other.exit_code == 2
    assert "found holds a search that began otherwise (objectives); go on as it did, or" in other.stderr


def test_hostile_presets_do_not_hide_the_models(bytheway: Command, data: Path) -> None:
    folder = kept_folder("presets", "foreign")
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps({"format": 1, "model": "\x1b[31mred"}))
    result = bytheway("models")
    assert result.exit_code == 0
    assert "is damaged or no preset of bytheway's; remove it." in result.stderr
    assert "videocrafter2" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--search", "--clips", 8], "A search makes whole clips"),
        (["--budget", "100"], "Only a search measures clips; give --search"),
        (["--search", "--budget", "5"], "give 12 or more clips, such as 200, or a time, such as 90min (--budget)"),
        (["--search", "--objectives", "nothing,even"], "There is no measure 'nothing'"),
        (["--search", "--objectives", "temporal_flickering"], "at least two different objectives"),
    ],
)
def test_what_cannot_be_is_said_before_the_model_is_loaded(bytheway: Command, options: list[str], said: str) -> None:
    result = bytheway("tune", "no such model", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_settings_left_to_the_model_are_found_once_and_written_into_the_clip(generate: Command, data: Path) -> None:
    first = generate("a ball", "--alpha", "auto", "--seed", 1, "-o", "a.mp4")
    assert first.exit_code == 0, first.output
    assert "looking at vanilla clip 8/8" in first.stderr
    assert "Found for this model: alpha " in first.stderr
    assert "alpha found for the model" in first.stdout
    settings = read_metadata("a.mp4")
    assert settings["auto"] == ["alpha"]
    assert f"alpha {settings['config']['alpha']:g}" in first.stderr
    assert len(list(data.glob("auto/diorama/*.json"))) == 1
    Path("auto.toml").write_text('alpha = "auto"\nbeta = 2.0\n')
    second = generate("a ball", "--config", "auto.toml", "--tau", "auto", "--seed", 1, "-o", "b.mp4")
    assert second.exit_code == 0, second.output
    assert "looking at vanilla clip" not in second.stderr
    assert read_metadata("b.mp4")["auto"] == ["alpha", "tau"]
    assert read_metadata("b.mp4")["config"]["alpha"] == settings["config"]["alpha"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alpha", "much"], "--alpha is 'much'; give a number, or auto."),
        (["--tau", "1.5"], "--tau is '1.5'; give a whole number, or auto."),
        (["--beta", "auto", "--tau", "0"], "beta cannot be auto with tau 0"),
    ],
)
def test_what_no_model_can_tell(generate: Command, options: list[str], said: str) -> None:
    result = generate("a ball", *options)
    assert result.exit_code == 2
    assert said in result.stderr
