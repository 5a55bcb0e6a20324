"""`score`, `compare` and `measures`, on clips of every kind and on input that cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import Result

from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.measures.measure import KINDS
from bytheway.evaluation.scores import score_clip
from bytheway.evaluation.suites import prompts_of

Command = Callable[..., Result]
FLICKER = ["--measures", "temporal_flickering"]


def clip(path: str, level: int = 100, *, frames: int = 6, side: int = 32, step: int = 2, **settings: object) -> Path:
    """A square that grows brighter on a ground."""
    made = np.full((frames, side, side, 3), 60, np.uint8)
    for index in range(frames):
        made[index, side // 4 : side // 2] = min(255, level + step * index)
    return save_video(made, path, 8.0, settings)


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert said in result.stderr.strip().splitlines()[-1]
    assert result.stderr.count("Error:") == 1
    assert "Traceback" not in result.output


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines() if "\t" in line]


def test_clips_of_all_kinds_are_scored(bytheway: Command) -> None:
    clip("out/a-0.mp4", 100)
    clip("out/a-1.gif", 120, step=9)
    clip("b.webp", 90)
    result = bytheway("score", "out", "b.w*", *FLICKER, "-o", "scores.json")
    assert result.exit_code == 0, result.output
    table = rows(result.stdout)
    assert [row[0] for row in table[:4]] == ["clip", "a-0", "a-1", "b"]
    name, mean, interval, clips, prompts, lowest, highest = table[-1]
    assert (name, clips, prompts) == ("temporal_flickering", "3", "2"), "two clips are of the prompt a"
    assert lowest.endswith("a-1")
    assert highest.split()[1] in ("a-0", "b")
    low, high = map(float, interval.split(" to "))
    assert low <= float(mean) <= high
    stored = json.loads(Path("scores.json").read_text())
    assert [one["prompt"] for one in stored["clips"]] == ["a", "a", "b"]
    assert len(stored["clips"][0]["measurements"]["temporal_flickering"]["values"]) == 5


def test_vbenchs_files_are_written_beside(bytheway: Command) -> None:
    clip("out/a-0.mp4")
    result = bytheway("score", "out", *FLICKER, "--vbench", "run/name")
    assert result.exit_code == 0, result.output
    results = json.loads(Path("run/name_eval_results.json").read_text())
    assert results["temporal_flickering"][1][0]["video_path"] == "out/a-0.mp4"
    info = json.loads(Path("run/name_full_info.json").read_text())
    assert info == [{"prompt_en": "a", "dimension": ["temporal_flickering"], "video_list": ["out/a-0.mp4"]}]


def test_quiet_says_nothing(bytheway: Command) -> None:
    clip("a.mp4")
    result = bytheway("score", "a.mp4", *FLICKER, "-q", "-o", "s.json")
    assert (result.exit_code, result.output) == (0, "")
    assert Path("s.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "none.mp4"], "There is no file none.mp4."),
        (["score", "empty"], "The folder empty holds no clips"),
        (["score", "one.gif"], "The clip has 1 frame; temporal flickering requires 2, so give a longer one."),
        (["score", "dot"], "The frames have 1x1 pixels; temporal flickering requires 16 on each side"),
        (["score", "broken.mp4"], "broken.mp4 is not a video."),
        (["score", "a.mp4", "--measures", "beauty"], "There is no measure 'beauty'; the measures are subject_con"),
        (["score", "a.mp4", "-o", "empty"], "empty is a folder: choose another name."),
        (["score", "a.mp4", "--weights", "DINO"], "--weights is 'DINO'; write a name, an equals sign and a path."),
        (["compare", "A", "empty"], "The folder empty holds no clips"),
        (["compare", "A", "other"], "No clip has a partner: A/1.gif and other/7.gif share neither prompt and seed nor"),
        (["compare", "A", "longer"], "A/1.gif and longer/1.gif have 6 and 7 frames."),
        (["compare", "A", "larger"], "A/1.gif and larger/1.gif have 32x32 and 64x64 pixels."),
        (["compare", "A", "A", "-o", "page.pdf"], "page.pdf is no name for a comparison; let it end in .html or"),
    ],
)
def test_input_that_cannot_be(bytheway: Command, arguments: list[str], said: str) -> None:
    Path("empty").mkdir()
    Path("broken.mp4").write_bytes(b"nothing at all")
    clip("a.mp4")
    clip("one.gif", frames=1)
    clip("dot", side=1)
    for folder, changes in {"A": {}, "longer": {"frames": 7}, "larger": {"side": 64}}.items():
        clip(f"{folder}/1.gif", **changes)  # type: ignore[arg-type]
    clip("other/7.gif")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    more = [] if "--measures" in arguments else FLICKER
    refused(bytheway(*arguments, *more), said)
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()} == before


def test_what_can_be_scored_is_before_what_is_wrong_is_said(bytheway: Command) -> None:
    clip("out/1.gif")
    clip("out/2.gif", frames=1)
    Path("out/3.mp4").write_bytes(b"nothing")
    result = bytheway("score", "out", *FLICKER, "-o", "s.json")
    refused(result, "The rest is measured, but 2 things are missing from it")
    assert "Warning: out/2.gif: The clip has 1 frame" in result.stderr
    assert "Warning: out/3.mp4 is not a video." in result.stderr
    assert len(json.loads(Path("s.json").read_text())["clips"]) == 1


def test_networks_that_are_not_here_are_named(bytheway: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice what can be measured is; what is asked for by name is an error where it cannot be had."""
    monkeypatch.setenv("HF_HUB_CACHE", str(Path("cache").resolve()))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    clip("a.mp4")
    usual = bytheway("score", "a.mp4")
    assert usual.exit_code == 0, usual.output
    assert "Left out: subject_consistency. The weights of DINO ViT-B/16" in usual.stderr
    assert "temporal_flickering" in usual.stdout
    asked = bytheway("score", "a.mp4", "--measures", "subject_consistency")
    assert asked.exit_code == 2
    assert "Traceback" not in asked.output


def test_a_network_of_ones_own_is_a_measure(bytheway: Command) -> None:
    class Mean(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.mean((1, 2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.trace(Mean(), torch.zeros(2, 3, 32, 32)).save("mean.pt")  # type: ignore[no-untyped-call]
    clip("a.mp4")
    result = bytheway("score", "a.mp4", *FLICKER, "--bring", "brightness=mean.pt", "-o", "s.json")
    assert result.exit_code == 0, result.output
    assert [row[0] for row in rows(result.stdout)][1:] == ["temporal_flickering", "brightness"]
    (scored,) = json.loads(Path("s.json").read_text())["clips"]
    assert scored["measurements"]["brightness"]["value"] == pytest.approx(0.28, abs=0.02)
    assert scored["measurements"]["brightness"]["backbones"][0]["source"] == "mean.pt"


@pytest.fixture
def two_folders() -> None:
    """Eight prompts; in B the square flickers more. One clip of each is alone."""
    for k in range(8):
        settings = {"prompt": f"prompt {k}", "seed": 5}
        clip(f"A/{k}.gif", 100 + k, step=1, **settings)
        clip(f"B/{7 - k}.gif", 100 + k, step=6 + k, **settings)


def test_two_folders_are_compared_pair_by_pair(bytheway: Command, two_folders: None) -> None:
    result = bytheway("compare", "A", "B", *FLICKER, "-o", "page.html", "-o", "figures.json")
    assert result.exit_code == 0, result.output
    heads, row = rows(result.stdout)
    assert heads[:4] == ["measure", "A", "B", "difference"]
    found = dict(zip(heads, row, strict=True))
    assert (found["wins"], found["losses"], found["ahead"]) == ("0", "8", "A")
    assert found["difference"].startswith("−0.0")
    stored = json.loads(Path("figures.json").read_text())
    assert [pair["second"] for pair in stored["pairs"]][:2] == ["B/7.gif", "B/6.gif"], "by prompt and seed"
    page = Path("page.html").read_text()
    assert page.count('class="card"') == 8
    assert "<b>A</b> is ahead in temporal_flickering." in page


def test_clips_without_a_partner_are_named_after_the_others_are_compared(bytheway: Command, two_folders: None) -> None:
    clip("A/alone.gif")
    result = bytheway("compare", "A", "B", *FLICKER, "-o", "page.html")
    refused(result, "A/alone.gif has no partner.")
    assert rows(result.stdout)[1][5:8] == ["0", "0", "8"]
    assert "A/alone.gif has no partner." in Path("page.html").read_text()
    clip("B/lonely.gif")
    result = bytheway("compare", "A", "B", *FLICKER)
    refused(result, "The other pairs are compared, but 2 things are missing from it; the warnings above say what.")
    assert "Warning: B/lonely.gif has no partner." in result.stderr


def test_folders_of_the_same_name_are_told_apart(bytheway: Command, two_folders: None) -> None:
    Path("old").mkdir()
    Path("new").mkdir()
    Path("A").rename("old/clips")
    Path("B").rename("new/clips")
    result = bytheway("compare", "old/clips", "new/clips/", *FLICKER)
    assert rows(result.stdout)[0][1:3] == ["old/clips", "new/clips"]


def breaking_off(monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException) -> None:
    """After so many clips that were measured, one cannot be for that error."""
    done: list[Any] = []

    def some(*arguments: Any) -> Any:
        done.append(arguments)
        if len(done) == after + 1:
            raise error
        return score_clip(*arguments)

    monkeypatch.setattr("bytheway.evaluation.scores.score_clip", some)


def test_what_was_measured_before_an_interrupt_is_written(bytheway: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(4):
        clip(f"out/{k}.gif", 100 + k)
    breaking_off(monkeypatch, 2, KeyboardInterrupt())
    result = bytheway("score", "out", *FLICKER, "-o", "s.json", "--vbench", "name")
    assert result.exit_code == 130, result.output
    assert "s.json is written, without the 2 clips that are left." in result.stderr
    stored = json.loads(Path("s.json").read_text())
    assert (stored["left"], len(stored["clips"])) == (2, 2)
    assert not list(Path().glob("name_*")), "VBench's own say nothing of what is left"
    assert bytheway("score", "out", *FLICKER, "-o", "s.json").exit_code == 0
    assert "left" not in json.loads(Path("s.json").read_text())


def test_pairs_that_were_measured_before_an_interrupt_are_compared(
    bytheway: Command, two_folders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking_off(monkeypatch, 5, KeyboardInterrupt())
    result = bytheway("compare", "A", "B", *FLICKER, "-o", "figures.json")
    assert result.exit_code == 130, result.output
    stored = json.loads(Path("figures.json").read_text())
    assert len(stored["pairs"]) == 2
    assert "Interrupted: 2 of 8 pairs are measured." in stored["left_out"]


def test_a_clip_that_the_memory_is_too_small_for_costs_itself_only(
    bytheway: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(3):
        clip(f"out/{k}.gif", 100 + k)
    breaking_off(monkeypatch, 1, torch.OutOfMemoryError("CUDA out of memory."))
    result = bytheway("score", "out", *FLICKER, "-o", "s.json")
    refused(result, "out/1.gif: There is not enough memory to measure; try a smaller --measure-batch")
    assert len(json.loads(Path("s.json").read_text())["clips"]) == 2


@pytest.mark.parametrize(
    "command", [["score", "a.mp4"], ["compare", "A", "B"], ["evaluate", "-o", "x", "--suite", "diorama"]]
)
def test_how_networks_measure_is_an_option(
    bytheway: Command, two_folders: None, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[MeasureChoice] = []

    def load(choice: MeasureChoice) -> Any:
        asked.append(choice)
        raise ByTheWayError("That is enough.")

    monkeypatch.setattr(MeasureChoice, "load", load)
    clip("a.mp4")
    refused(bytheway(*command, "--offline", "--measure-dtype", "bfloat16", "--measure-batch", 2), "That is enough.")
    assert [(one.offline, one.dtype, one.batch_size) for one in asked] == [(True, "bfloat16", 2)]


def test_clips_that_vbenchs_files_have_no_place_for_are_refused_at_once(
    bytheway: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeasureChoice, "load", lambda choice: pytest.fail("nothing is measured before"))
    for folder in "ab":
        clip(f"{folder}/{prompts_of('vbench')[0]}-0.mp4")
    refused(bytheway("score", "a", "b", *FLICKER, "--vbench", "name"), "have the same name")


def test_measures_are_listed(bytheway: Command) -> None:
    result = bytheway("measures")
    assert result.exit_code == 0, result.output
    assert [row[0] for row in rows(result.stdout)[1:]] == list(KINDS)
    assert all(kind.about in result.stdout for kind in KINDS.values())


def test_without_scipy_there_is_a_sentence(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['scipy.stats'] = None\n"
        "from typer.testing import CliRunner; from bytheway.cli import app\n"
        "result = CliRunner().invoke(app, ['score', 'a.mp4']); print(result.exit_code, result.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split(" ", 1) == [
        "2",
        "Error: Figures with their uncertainty need scipy; install it (pip install scipy).\n\n",
    ]


def test_measures_have_no_torch_until_they_are_asked(bytheway: Command) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from bytheway.cli import app\n"
        "for wrong in (['score', 'none.mp4'], ['compare', 'none', 'none'], ['evaluate', '-o', 'x', '--suite', 'y']):\n"
        "    assert CliRunner().invoke(app, wrong).exit_code == 2\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
