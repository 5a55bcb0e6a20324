"""How far a run is: seconds a step and the time that is left, in lines where there is no terminal."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console
from typer.testing import Result

import bytheway as package
from bytheway.cli.progress import RunProgress
from bytheway.clips.read import read_metadata
from bytheway.generation.job import PlannedClip
from bytheway.generation.sample import Step

Command = Callable[..., Result]
CLIPS = tuple(PlannedClip(index, f"prompt {index}", 7) for index in range(4))
FIRST = Step(CLIPS[:1], "enhanced", done=0, steps=10, active=2, iteration=0, iterations=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time."""
    now = Mock(return_value=0.0)
    monkeypatch.setattr(time, "monotonic", now)
    return lambda seconds: now.configure_mock(return_value=seconds)


def job(*clips: PlannedClip, compare: bool = False) -> Any:
    return Mock(clips=clips, request=Mock(compare=compare))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_lines_every_ten_seconds_and_at_the_end(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with RunProgress(job(CLIPS[0]), 1) as progress:
        for done in range(11):
            clock(4.0 * done)
            progress(replace(FIRST, done=done))
    assert said(capsys) == [
        "enhanced: prompt 0 (seed 7, 10 steps)",
        "enhanced: step 3/10, 4 s a step, 28 s left",
        "enhanced: step 6/10, 4 s a step, 16 s left",
        "enhanced: step 9/10, 4 s a step, 4 s left",
        "enhanced: step 10/10, 4 s a step, 0 s left",
    ]


@pytest.mark.parametrize(
    ("clips", "step", "seconds", "expected"),
    [
        # the first of four: 3.5 more such clips
        (CLIPS, replace(FIRST, done=5), 100, "clip 1/4 enhanced: step 5/10, 20 s a step, 11 min 40 s left"),
        # of clips that are left of a list, the last is begun
        (
            CLIPS[2:],
            replace(FIRST, clips=CLIPS[3:], done=5),
            90,
            "clip 4/4 enhanced: step 5/10, 18 s a step, 30 s left",
        ),
        # two at once
        (
            CLIPS,
            replace(FIRST, clips=CLIPS[:2], done=1),
            600,
            "clips 1-2/4 enhanced: step 1/10, 6e+02 s a step, 3 h 10",
        ),
        # the second of three iterations of FreeInit
        (CLIPS[:1], replace(FIRST, done=5, iteration=1, iterations=3), 30, "step 15/30, 2 s a step, 30 s left"),
    ],
)
def test_the_time_left_is_that_of_the_whole_run(
    clock: Callable[[float], None],
    capsys: pytest.CaptureFixture[str],
    clips: tuple[PlannedClip, ...],
    step: Step,
    seconds: float,
    expected: str,
) -> None:
    progress = RunProgress(job(*clips), 4)
    progress(replace(step, done=0, iteration=0))
    clock(seconds)
    progress(step)
    assert expected in said(capsys)[-1]


def test_a_comparison_is_twice_the_work(clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]) -> None:
    progress = RunProgress(job(CLIPS[0], compare=True), 1)
    for variant, seconds in (("vanilla", 20), ("enhanced", 40)):
        progress(replace(FIRST, variant=variant))
        clock(seconds)
        progress(replace(FIRST, variant=variant, done=10))
    lines = [line for line in said(capsys) if "left" in line]
    assert lines == [
        "vanilla: step 10/10, 2 s a step, 20 s left",
        "enhanced: step 10/10, 2 s a step, 0 s left",
    ]


def test_bars_show_it_on_a_terminal(clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress = RunProgress(job(CLIPS[0]), 1)
    progress(FIRST)
    clock(8)
    progress(replace(FIRST, done=4))
    console = Console(width=200, record=True)
    console.print(progress._bars.get_renderable())
    drawn = console.export_text()
    for shown in ("enhanced", "4/10", "denoising", "2 s a step, 12 s left"):
        assert shown in drawn


def test_a_run_says_how_far_it_is(generate: Command) -> None:
    result = generate("a ball", "-o", "a.gif", "--seed", 1)
    assert result.exit_code == 0
    (line,) = (line for line in result.stderr.splitlines() if "s a step" in line)
    assert line.startswith("enhanced: step 4/4, ")
    assert line.endswith(" left")


def test_quiet(generate: Command) -> None:
    result = generate("a ball", "-o", "a.gif", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert Path("a.gif").exists()
    result = generate("", "-q")
    assert (result.exit_code, result.stderr) == (2, "Error: The prompt is empty; say what the clip shall show.\n")
    assert "Seed" in generate("a ball", "-o", "c").stderr


def test_quiet_keeps_warnings(bytheway: Command, tiny_folder: Path) -> None:
    result = bytheway("generate", "a horse", "-q", "--model", tiny_folder, "-o", "b")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("Warning: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("mp4", ["0001.mp4", "0002.mp4"]),
        ("gif", ["0001.gif", "0002.gif"]),
        ("webp", ["0001.webp", "0002.webp"]),
        ("png", ["0001", "0002"]),
    ],
)
def test_the_format_of_a_list(generate: Command, kind: str, names: list[str]) -> None:
    Path("list.txt").write_text("# my prompts\n\na ball\n   # and another\n\t\na star # with a tail\n#\n")
    assert generate("--prompts-file", "list.txt", "--format", kind, "-o", "out").exit_code == 0
    assert {path.name: read_metadata(path)["prompt"] for path in Path("out").iterdir()} == dict(
        zip(names, ["a ball", "a star # with a tail"], strict=True)
    )


def test_the_format_of_clips_without_a_name(generate: Command) -> None:
    assert generate("a ball", "--format", "gif", "--seed", 3).exit_code == 0
    assert generate("a ball", "--format", "png", "--seed", 3).exit_code == 0
    assert {path.name for path in Path().iterdir()} == {"a-ball-3.gif", "a-ball-3"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--prompts-file", "list.txt", "-o", "out.gif"],
            "name it out in place of out.gif, and choose the format gif (--",
        ),
        (["--prompts-file", "list.txt", "-o", "a/b.MP4"], "name it a/b in place of a/b.MP4, and choose the format mp4"),
        (["a ball", "-o", "a.gif", "--format", "gif"], "The name a.gif says the format; leave one of the two out (--"),
        (["a ball", "-o", "folder", "--format", "mp4"], "The name folder says the format"),
        (["a ball", "--format", "avi"], "'avi' is not one of"),
    ],
)
def test_formats_that_cannot_be(generate: Command, arguments: list[str], said: str) -> None:
    Path("list.txt").write_text("a ball\n")
    result = generate(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert [path.name for path in Path().iterdir()] == ["list.txt"]


def test_version(bytheway: Command) -> None:
    result = bytheway("--version")
    assert (result.exit_code, result.stdout) == (0, f"bytheway {package.__version__}\n")
