"""`bytheway generate`: what it writes, what it says."""

import csv
import gc
import json
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from bytheway.clips.read import load_video, read_metadata
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayWarning

Command = Callable[..., Result]


def test_from_a_folder_to_a_clip(bytheway: Command, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a model of this machine was looked up at {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    result = bytheway("generate", "a red horse", "--model", tiny_folder, "-o", "horse.mp4", "--seed", 5)
    assert result.exit_code == 0, result.output
    frames, fps = load_video("horse.mp4")
    assert frames.shape == (4, 256, 256, 3)
    assert fps == 5
    settings = read_metadata("horse.mp4")
    assert (settings["model"], settings["prompt"], settings["seed"]) == (str(tiny_folder), "a red horse", 5)
    assert (settings["steps"], settings["guidance_scale"], settings["scale"]) == (2, 2.0, 16)
    assert "has never read: horse." in result.stderr
    for said in ("horse.mp4", "seed: 5", "seconds: ", "2 steps", "alpha 0.6, beta 1.5, tau 7"):
        assert said in result.stdout


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.webp", "clip", "new/folder/clip.gif"])
def test_formats(generate: Command, name: str) -> None:
    assert generate("a ball", "-o", name, "--fps", 10).exit_code == 0
    frames, fps = load_video(name)
    assert frames.shape == ((4, 16, 16, 3) if name == "clip" else (4, 256, 256, 3))
    assert fps == 10


def test_scale(generate: Command) -> None:
    assert generate("a ball", "-o", "a.gif", "--scale", 1).exit_code == 0
    assert generate("a ball", "-o", "b", "--scale", 3).exit_code == 0
    assert load_video("a.gif")[0].shape == (4, 16, 16, 3)
    assert load_video("b")[0].shape == (4, 48, 48, 3)


def test_same_seed_same_frames_and_the_seed_is_told(generate: Command) -> None:
    drawn = generate("a ball", "-o", "a")
    assert drawn.exit_code == 0
    seed = read_metadata("a")["seed"]
    assert f"Seed {seed} (drawn" in drawn.stderr
    assert f"seed: {seed}" in drawn.stdout
    assert "drawn" not in generate("a ball", "-o", "b", "--seed", seed).stderr
    generate("a ball", "-o", "c")
    np.testing.assert_array_equal(load_video("a")[0], load_video("b")[0])
    assert (load_video("a")[0] != load_video("c")[0]).any()


def test_several_clips_are_numbered(generate: Command) -> None:
    result = generate("a ball", "a star", "--num-videos", 2, "-o", "out.gif", "--seed", 3, "--record", "r.csv")
    assert result.exit_code == 0
    assert {path.name for path in Path().iterdir()} == {
        f"{n}-{i}.{e}" for i in range(1, 5) for n, e in (("out", "gif"), ("r", "csv"))
    }
    made = [read_metadata(f"out-{number}.gif") for number in range(1, 5)]
    assert [(m["prompt"], m["seed"]) for m in made] == [("a ball", 3), ("a ball", 4), ("a star", 3), ("a star", 4)]
    assert all(f"out-{number}.gif" in result.stdout for number in range(1, 5))
    assert sum("(seed " in line for line in result.stderr.splitlines()) == 4


def test_clips_made_at_once_are_told_apart(generate: Command) -> None:
    result = generate("a ball", "a star", "--num-videos", 2, "-o", "out", "--seed", 3, "--batch-size", 4)
    assert result.exit_code == 0
    made = [read_metadata(f"out-{number}") for number in range(1, 5)]
    assert [(m["prompt"], m["seed"]) for m in made] == [("a ball", 3), ("a ball", 4), ("a star", 3), ("a star", 4)]
    assert "clip 3/4 enhanced: a star (seed 3, 4 steps)" in result.stderr
    assert generate("a star", "--seed", 4, "-o", "alone").exit_code == 0
    together, alone, other = (load_video(name)[0].astype(int) for name in ("out-4", "alone", "out-3"))
    assert np.abs(together - alone).max() <= 1
    assert np.abs(together - other).max() > 20


def test_one_start_for_all_prompts(
    bytheway: Command, tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads: list[str] = []

    def load(model: str, **choice: Any) -> Any:
        loads.append(model)
        return tiny_pipeline

    monkeypatch.setattr("bytheway.models.choice.load", load)
    (tmp_path / "list.txt").write_text("a ball\n\na star\n")
    small = ["--steps", 1, "--frames", 2, "--size", "16x16"]
    assert bytheway("generate", "--prompts-file", "list.txt", "--num-videos", 2, *small).exit_code == 0
    assert sorted(path.name for path in Path("list").iterdir()) == [f"000{number}.mp4" for number in range(1, 5)]
    assert loads == ["diorama"]


@pytest.mark.parametrize("model", ["folder", "nothing"])
def test_what_is_loaded_is_kept_from_the_garbage_collector(bytheway: Command, tiny_folder: Path, model: str) -> None:
    Path("nothing").mkdir()
    gc.unfreeze()
    chosen = tiny_folder if model == "folder" else model
    result = bytheway("generate", "a ball", "--model", chosen, "--steps", 1, "-o", "a")
    assert result.exit_code == (0 if model == "folder" else 2)
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()


def test_warnings_of_loading_are_lines_without_a_place_in_the_code(
    bytheway: Command, tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model: str, **choice: Any) -> Any:
        warnings.warn("Of the LoRA x 1 of 2 layers find no place.", ByTheWayWarning, stacklevel=1)
        return tiny_pipeline

    monkeypatch.setattr("bytheway.models.choice.load", load)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = bytheway("generate", "a red ball", "--frames", "4", "--size", "16x16", "--steps", "2")
    assert result.exit_code == 0
    assert "\nWarning: Of the LoRA x 1 of 2 layers find no place.\n" in result.stderr


def test_names_of_its_own_never_replace(generate: Command) -> None:
    for _ in range(2):
        assert generate("A red/blue ball, bouncing!", "--seed", 3).exit_code == 0
    names = {path.name for path in Path().iterdir()}
    assert names == {"a-red-blue-ball-bouncing-3.mp4", "a-red-blue-ball-bouncing-3-2.mp4"}
    assert generate("象", "--seed", 3).exit_code == 0
    assert Path("象-3.mp4").exists()


def test_compare(generate: Command) -> None:
    choice = ["--seed", 3, "--active-steps", 1, "--beta", 8]
    assert generate("a ball", "--compare", "-o", "both", *choice).exit_code == 0
    assert generate("a ball", "--no-enhance", "-o", "vanilla", "--scale", 16, "--seed", 3).exit_code == 0
    assert generate("a ball", "-o", "enhanced", "--scale", 16, *choice).exit_code == 0
    both, vanilla, enhanced = (load_video(name)[0] for name in ("both", "vanilla", "enhanced"))
    np.testing.assert_array_equal(both[:, -256:, :256], vanilla)
    np.testing.assert_array_equal(both[:, -256:, -256:], enhanced)
    assert (vanilla != enhanced).any()
    assert read_metadata("both")["compare"] is True
    assert read_metadata("vanilla")["config"] is None


def test_settings_come_from_preset_file_and_options(generate: Command) -> None:
    ByTheWayConfig(alpha=0.2, beta=3.0, tau=2, beta_rule="ratio").save("mine.toml")

    def used(*arguments: object) -> ByTheWayConfig:
        result = generate("a ball", "-o", "a", *arguments)
        assert result.exit_code == 0, result.output
        return ByTheWayConfig.from_dict(read_metadata("a")["config"])

    assert used() == ByTheWayConfig()
    assert used("--preset", "videocrafter2") == ByTheWayConfig(alpha=0.1, beta=10, tau=7)
    assert used("--config", "mine.toml") == ByTheWayConfig(alpha=0.2, beta=3.0, tau=2, beta_rule="ratio")
    options = ["--alpha", 0, "--beta", 2, "--tau", 0, "--active-steps", 0.5]
    assert used("--config", "mine.toml", *options) == ByTheWayConfig(0, 2.0, 0, 0.5, beta_rule="ratio")


def test_choices_reach_the_loader(bytheway: Command, tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def load(model: str, **choice: Any) -> Any:
        seen.update(model=model, **choice)
        return tiny_pipeline

    monkeypatch.setattr("bytheway.models.choice.load", load)
    options = ["--motion-adapter", "m", "--lora", "x=0.5", "--lora", "y", "--device", "cpu", "--dtype", "float32"]
    small = ["--steps", 1, "--frames", 2, "--negative-prompt", "snow", "--guidance-scale", 1.5, "--free-init"]
    assert bytheway("generate", "a ball", "-m", "base", *options, *small, "-o", "a").exit_code == 0
    assert seen == {
        "model": "base",
        "motion_adapter": "m",
        "lora": ("x=0.5", "y"),
        "start": None,
        "controlnet": None,
        "device": "cpu",
        "dtype": "float32",
    }
    settings = read_metadata("a")
    assert (settings["motion_adapter"], settings["lora"]) == ("m", ["x=0.5", "y"])
    assert (settings["steps"], settings["num_frames"], settings["free_init"]) == (1, 2, True)
    assert (settings["negative_prompt"], settings["guidance_scale"]) == ("snow", 1.5)


def test_record(generate: Command) -> None:
    assert generate("a ball", "-o", "a", "--record", "new/r.csv", "--active-steps", 0.5).exit_code == 0
    with open("new/r.csv", newline="") as file:
        assert {row["step"] for row in csv.DictReader(file)} == {"0", "1"}
    assert generate("a ball", "-o", "a", "--record", "r.jsonl", "--no-enhance").exit_code == 0
    rows = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows} == {0, 1, 2, 3}
    assert {row["beta"] for row in rows} == {1.0}


@pytest.mark.parametrize(("size", "finished"), [(1, 1), (2, 2)])
def test_finished_clips_are_told_after_an_interruption(
    generate: Command, monkeypatch: pytest.MonkeyPatch, size: int, finished: int
) -> None:
    def stop(self: object, step: Any) -> None:
        if step.clips[0].index == finished and step.done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("bytheway.cli.progress.RunProgress.__call__", stop)
    result = generate("a ball", "a star", "a box", "-o", "out.gif", "--batch-size", size)
    assert result.exit_code == 130
    assert "out-1.gif" in result.stdout
    assert {path.name for path in Path().iterdir()} == {f"out-{number + 1}.gif" for number in range(finished)}


def test_a_prompt_of_long_letters_names_a_file(generate: Command) -> None:
    result = generate("\U00012000" * 60, "--seed", str(2**63 - 1))
    assert result.exit_code == 0
    (clip,) = Path().iterdir()
    assert clip.name.startswith("\U00012000")
    assert clip.name.endswith(f"-{2**63 - 1}.mp4")


def test_a_record_goes_where_its_link_leads(generate: Command) -> None:
    Path("r.csv").symlink_to("new/folder/real.csv")
    assert generate("a ball", "-o", "a.mp4", "--record", "r.csv").exit_code == 0
    assert Path("r.csv").is_symlink()
    assert Path("new/folder/real.csv").read_text().count("\n") > 1


def test_a_length_that_the_model_was_not_made_for_is_warned_of(bytheway: Command, tiny_folder: Path) -> None:
    """Its folder says 4 frames of 16x16."""
    run = ("generate", "a red ball", "--model", tiny_folder, "--steps", 1, "-q")
    sentence = (
        "Warning: This model (AnimateDiffPipeline) was made for 4 frames of 16x16, and 7 frames of 16x16 are asked "
        "for, at which its clips may fall apart.\n"
    )
    assert bytheway(*run, "--frames", 6, "-o", "a.gif").stderr == ""
    assert bytheway(*run, "--frames", 7, "-o", "b.gif").stderr == sentence
