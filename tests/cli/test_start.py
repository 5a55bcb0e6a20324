"""`bytheway generate` from images, sketches and videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.write import save_video
from tests.toys import animatediff

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def pipes() -> dict[str | None, Any]:
    """By what they start from."""
    sparse = animatediff.sparse_controlnet()[0]
    return {"image": sparse, "sketch": sparse, "video": animatediff.video_to_video()[0]}


@pytest.fixture
def start(
    bytheway: Command, pipes: dict[str | None, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Result, dict[str, Any]]]:
    """Runs `bytheway generate` with these arguments; returns what the loader was asked for as well."""
    seen: dict[str, Any] = {}

    def load(model: str, **choice: Any) -> Any:
        seen.update(choice)
        return pipes[choice["start"]]

    monkeypatch.setattr("bytheway.models.choice.load", load)
    Image.fromarray(np.full((20, 40, 3), 90, np.uint8)).save("cat.png")
    save_video(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8), "in", 5, {})

    def run(*arguments: object) -> tuple[Result, dict[str, Any]]:
        result = bytheway("generate", "a ball", "--size", "16x16", "--steps", 2, "--seed", 3, "-o", "out", *arguments)
        return result, seen

    return run


def test_images(start: Callable[..., Any]) -> None:
    result, asked = start("--image", "cat.png", "--image", "cat.png@-1", "--frames", 4)
    assert result.exit_code == 0, result.output
    assert (asked["start"], asked["controlnet"]) == ("image", None)
    assert result.stderr.count("cat.png is 40x20; it is scaled and cut to 16x16.") == 1
    assert "from: cat.png@0, cat.png@3" in result.stdout
    settings = read_metadata("out")
    assert (settings["images"], settings["start"]) == (["cat.png@0", "cat.png@3"], "image")


@pytest.mark.filterwarnings("default")
def test_what_was_laid_on_white_is_said_in_one_line(start: Callable[..., Any]) -> None:
    Path("frames").mkdir()
    for index in range(3):
        Image.new("RGBA", (16, 16), (0, 0, 0, 40 * index)).save(f"frames/{index}.png")
    result, _ = start("--video", "frames")
    assert result.exit_code == 0, result.output
    said = [line for line in result.stderr.splitlines() if "white" in line]
    assert said == ["Warning: frames is transparent in places; it is laid on white."]
    result, _ = start("--image", "frames/1.png", "--frames", 4)
    assert "Warning: frames/1.png is transparent in places; it is laid on white." in result.stderr.splitlines()


def test_sketches(start: Callable[..., Any]) -> None:
    result, asked = start("--sketch", "cat.png@1", "--controlnet", "mine", "--frames", 4)
    assert result.exit_code == 0, result.output
    assert (asked["start"], asked["controlnet"]) == ("sketch", "mine")
    assert read_metadata("out")["controlnet"] == "mine"


def test_a_video(start: Callable[..., Any]) -> None:
    result, asked = start("--video", "in", "--strength", 0.5)
    assert result.exit_code == 0, result.output
    assert asked["start"] == "video"
    frames, fps = load_video("out")
    assert (len(frames), fps) == (6, 5)
    assert "from: in, strength 0.5" in result.stdout
    assert (read_metadata("out")["video"], read_metadata("out")["strength"]) == ("in", 0.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image", "nowhere.png"], "There is no image nowhere.png"),
        (["--image", "notes.txt"], "notes.txt cannot be read as an image"),
        (["--image", "x" * 300], "cannot be opened: File name too long"),
        (["--image", "cat.png@16"], "cat.png is to be in frame 16, but the clip has the frames 0 to 15"),
        (["--image", "cat.png", "--sketch", "cat.png@1"], "from images or from sketches, not from both"),
        (["--image", "cat.png", "--video", "in"], "from images or from a video, not from both"),
        (["--video", "nowhere.mp4"], "There is no file nowhere.mp4"),
        (["--video", "notes.txt"], "notes.txt"),
        (["--strength", 0.5], "give the video"),
        (["--video", "in", "--strength", 2], "strength is 2"),
    ],
)
def test_refusals(start: Callable[..., Any], arguments: list[object], said: str) -> None:
    Path("notes.txt").write_text("no image")
    result, _ = start(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert not Path("out").exists()


def test_an_image_for_a_model_that_takes_none(bytheway: Command, tiny_folder: Path) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save("cat.png")
    result = bytheway("generate", "a ball", "--model", tiny_folder, "--image", "cat.png", "-o", "out")
    assert result.exit_code == 2
    assert "does not start from an image" in result.stderr
