"""What is there already: kept, gone on with, or replaced where that is asked for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from bytheway.clips.read import read_metadata
from bytheway.clips.write import save_video

Command = Callable[..., Result]
GREY = np.full((4, 16, 16, 3), 90, np.uint8)


def seeds_and_prompts(folder: str) -> dict[str, tuple[int, str]]:
    clips = {path.name: read_metadata(path) for path in sorted(Path(folder).iterdir())}
    return {name: (settings["seed"], settings["prompt"]) for name, settings in clips.items()}


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2
    assert said in result.stderr.strip().splitlines()[-1]


@pytest.fixture
def made(generate: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, int]]:
    """Runs `bytheway generate`; returns how many clips were made as well."""
    from bytheway.cli import run

    count = 0
    theirs = run.make_clips

    def counted(*arguments: Any) -> Any:
        nonlocal count
        for clip in theirs(*arguments):
            count += 1
            yield clip

    monkeypatch.setattr(run, "make_clips", counted)

    def call(*arguments: object) -> tuple[Result, int]:
        nonlocal count
        count = 0
        result = generate(*arguments)
        return result, count

    return call


@pytest.mark.parametrize("name", ["holiday.mp4", "holiday.gif", "holiday.webp"])
def test_a_file_that_we_did_not_make_is_kept(generate: Command, name: str) -> None:
    if name.endswith("mp4"):
        Path(name).write_bytes(b"anything at all")
    else:
        Image.fromarray(GREY[0]).save(name)
    before = Path(name).read_bytes()
    result = generate("a ball", "-o", name)
    refused(result, f"{name} exists and is no clip that bytheway made: choose another name (--overwrite).")
    assert "Loading" not in result.stderr
    assert Path(name).read_bytes() == before
    assert generate("a ball", "-o", name, "--overwrite").exit_code == 0
    assert read_metadata(name)["prompt"] == "a ball"


def test_an_empty_file_is_no_loss(generate: Command) -> None:
    Path("a.mp4").touch()
    assert generate("a ball", "-o", "a.mp4").exit_code == 0


def test_a_clip_is_replaced_by_one_of_its_prompt_alone(generate: Command) -> None:
    assert generate("a ball", "-o", "a.gif", "--seed", 1).exit_code == 0
    result = generate("a ball", "-o", "a.gif", "--seed", 2)
    assert "a.gif is replaced." in result.stderr
    assert read_metadata("a.gif")["seed"] == 2
    refused(generate("a star", "-o", "a.gif"), "a.gif is a clip of 'a ball', not of 'a star'; choose another name (--o")
    assert read_metadata("a.gif")["prompt"] == "a ball"
    assert generate("a star", "-o", "a.gif", "--overwrite").exit_code == 0
    assert read_metadata("a.gif")["prompt"] == "a star"


def test_a_record_is_replaced_when_asked(generate: Command) -> None:
    Path("r.csv").write_text("my,own\n1,2\n")
    refused(generate("a ball", "-o", "a", "--record", "r.csv"), "r.csv is there already; choose another name (--ov")
    assert Path("r.csv").read_text() == "my,own\n1,2\n"
    assert generate("a ball", "-o", "a", "--record", "r.csv", "--overwrite").exit_code == 0
    assert Path("r.csv").read_text().startswith("run,step,")


@pytest.mark.parametrize(
    ("source", "output"),
    [
        (["--video", "s.gif"], "s.gif"),
        (["--video", "s.gif"], "../{here}/s.gif"),
        (["--video", "link.gif"], "s.gif"),
        (["--video", "s.gif"], "link.gif"),
        (["--video", "frames"], "frames"),
        (["--image", "frames/0002.png"], "frames"),
        (["--image", "frames/0002.png@1"], "frames"),
        (["--sketch", "s.gif"], "s.gif"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--overwrite"], ["--skip-existing"]])
def test_what_a_clip_is_made_from_is_always_kept(
    generate: Command, source: list[str], output: str, more: list[str]
) -> None:
    save_video(GREY, "s.gif", metadata={"prompt": "a ball", "seed": 1})
    save_video(GREY, "frames", metadata={"prompt": "a ball", "seed": 1})
    Path("link.gif").symlink_to("s.gif")
    place = output.format(here=Path.cwd().name)
    refused(generate("a ball", *source, "-o", place, *more), f"{place} is what the clip is made from")
    assert read_metadata("s.gif")["seed"] == read_metadata("frames")["seed"] == 1


def test_a_killed_list_goes_on_where_it_stopped(made: Callable[..., tuple[Result, int]]) -> None:
    """Also with the seed that was drawn, which the clips that are there tell."""
    Path("list.txt").write_text("a ball\na star\na box\n")
    arguments = ["--prompts-file", "list.txt", "--num-videos", 2]
    assert made(*arguments)[1] == 6
    whole = seeds_and_prompts("list")
    for name in ("0003.mp4", "0005.mp4", "0006.mp4"):
        Path("list", name).unlink()
    times = {path: path.stat().st_mtime_ns for path in Path("list").iterdir()}
    result, count = made(*arguments, "--skip-existing")
    assert result.exit_code == 0, result.output
    assert count == 3
    assert "3 of 6 clips are there already." in result.stderr
    assert "drawn" not in result.stderr
    assert seeds_and_prompts("list") == whole
    assert {path: path.stat().st_mtime_ns for path in times} == times
    result, count = made(*arguments, "--skip-existing")
    assert (result.exit_code, count) == (0, 0)


@pytest.mark.parametrize("more", [[], ["--skip-existing"]])
@pytest.mark.parametrize("changed", ["a star\na box\n", "a dog\na ball\na star\na box\n", "a ball\na box\na star\n"])
def test_a_changed_list_does_not_overwrite_by_number(
    made: Callable[..., tuple[Result, int]], changed: str, more: list[str]
) -> None:
    Path("list.txt").write_text("a ball\na star\na box\n")
    assert made("--prompts-file", "list.txt", "--seed", 1)[1] == 3
    before = seeds_and_prompts("list")
    Path("list.txt").write_text(changed)
    result, count = made("--prompts-file", "list.txt", "--seed", 1, *more)
    refused(result, "choose another name (--overwrite).")
    assert (count, seeds_and_prompts("list")) == (0, before)
    result, count = made("--prompts-file", "list.txt", "--seed", 1, *more, "--overwrite")
    assert result.exit_code == 0, result.output
    kept = 0 if not more or not changed.startswith("a ball") else 1
    assert count == len(changed.splitlines()) - kept
    prompts = [prompt for _, prompt in seeds_and_prompts("list").values()]
    assert prompts[: len(changed.splitlines())] == changed.splitlines()


def test_a_longer_list_goes_on(made: Callable[..., tuple[Result, int]]) -> None:
    Path("list.txt").write_text("a ball\na star\n")
    assert made("--prompts-file", "list.txt", "--seed", 1)[1] == 2
    Path("list.txt").write_text("a ball\na star\na box\n")
    assert made("--prompts-file", "list.txt", "--seed", 1, "--skip-existing")[1] == 1
    assert seeds_and_prompts("list")["0003.mp4"] == (1, "a box")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--seed", 2], "was made with seed 1, not 2"),
        (["--steps", 2], "was made with steps 4, not 2"),
        (["--beta", 3], "was made with config "),
        (["--model", "other"], "was made with model diorama, not other"),
        (["--scale", 3], "was made with scale 16, not 3"),
    ],
)
def test_clips_of_other_settings_are_not_passed_off_as_these(
    made: Callable[..., tuple[Result, int]], changes: list[object], said: str
) -> None:
    assert made("a ball", "-o", "a.gif", "--seed", 1)[1] == 1
    result, count = made("a ball", "-o", "a.gif", "--seed", 1, *changes, "--skip-existing")
    refused(result, said)
    assert (count, read_metadata("a.gif")["seed"]) == (0, 1)
    assert made("a ball", "-o", "a.gif", "--seed", 1, *changes, "--skip-existing", "--overwrite")[1] == 1


def test_clips_named_after_their_prompts_are_skipped_too(made: Callable[..., tuple[Result, int]]) -> None:
    assert made("a ball", "--seed", 3)[1] == 1
    assert made("a ball", "a star", "--seed", 3, "--skip-existing")[1] == 1
    assert made("a ball", "--seed", 3, "--steps", 2, "--skip-existing")[1] == 1
    assert sorted(os.listdir()) == ["a-ball-3-2.mp4", "a-ball-3.mp4", "a-star-3.mp4"]


def test_records_of_clips_that_are_there_are_kept(made: Callable[..., tuple[Result, int]]) -> None:
    arguments = ["a ball", "a star", "-o", "a.gif", "--record", "r.csv", "--seed", 1]
    assert made(*arguments)[1] == 2
    Path("a-2.gif").unlink()
    Path("r-2.csv").unlink()
    result, count = made(*arguments, "--skip-existing")
    assert (result.exit_code, count) == (0, 1)
    assert Path("r-2.csv").read_text().startswith("run,step,")


def test_ten_thousand_clips_are_checked_in_a_moment(bytheway: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first place is tried; of the others it is asked whether anything is there."""
    from bytheway.cli.destination import Destination
    from bytheway.clips import write

    tried: list[Path] = []
    monkeypatch.setattr(write, "check_file", tried.append)
    Destination(Path("out"), None, None, ("a ball",), 10_000, folder=True).check(8.0)
    assert tried == [Path("out/0001.mp4")]
