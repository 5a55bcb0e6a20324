"""`bytheway evaluate` on the packaged model: made, killed, gone on with, measured and compared."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bytheway.batch.local import LocalPool
from bytheway.batch.maker import Failure
from bytheway.batch.store import open_store
from bytheway.clips.read import load_video, read_metadata
from bytheway.families.known import presets
from bytheway.models.choice import ModelChoice
from tests.toys.chat_server import chat_server

Command = Callable[..., Result]
ROOT = Path(__file__).parents[2]
PROMPTS = ("a red ball rolling to the right on grass", "at night a blue star spins")
SMALL = ["--prompts", "list.txt", "--steps", "1", "--frames", "4", "--measures", "temporal_flickering"]


@pytest.fixture
def evaluate(bytheway: Command) -> Command:
    """Runs `bytheway evaluate` on two prompts of diorama, in a few steps."""
    Path("list.txt").write_text("\n".join(PROMPTS) + "\n")
    return lambda *arguments: bytheway("evaluate", *SMALL, "-o", "out", *arguments)


def clips(folder: str = "out") -> dict[str, int]:
    """When each clip was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in Path(folder).rglob("*.mp4")}


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert said in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output


def test_arms_are_made_measured_and_compared(evaluate: Command) -> None:
    result = evaluate("--arms", "vanilla,enhanced,freeinit,alpha=0.5 beta=4", "--seeds", 2, "--seed", 7, "--table2")
    assert result.exit_code == 0, (result.output, result.exception)
    made = {path: read_metadata(path) for path in Path("out").rglob("*.mp4")}
    assert len(made) == 4 * 2 * 2
    for arm, settings in (
        ("vanilla", {"config": None, "free_init": False}),
        ("enhanced", {"config": presets()["diorama"].config.to_dict(), "free_init": False}),
        ("freeinit", {"config": None, "free_init": True}),
        ("alpha=0.5_beta=4", {"free_init": False}),
    ):
        for number, prompt in enumerate(PROMPTS):
            for k in range(2):
                there = made[Path(f"out/{arm}/{prompt}-{k}.mp4")]
                assert (there["prompt"], there["seed"], there["model"]) == (prompt, 7 + k, "diorama"), number
                assert {name: there[name] for name in settings} == settings
    assert made[Path(f"out/alpha=0.5_beta=4/{PROMPTS[0]}-0.mp4")]["config"]["beta"] == 4
    facts = json.loads(Path("out/experiment.json").read_text())
    assert (facts["prompts"], facts["seeds"]) == (list(PROMPTS), [7, 8])
    assert len(facts["model"]["weights"]) == 16
    assert list(facts["arms"]) == ["vanilla", "enhanced", "freeinit", "alpha=0.5 beta=4"]
    with Path("out/table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["arm"] for row in table] == list(facts["arms"])
    assert table[0]["difference"] == ""
    difference = float(table[3]["mean"]) - float(table[0]["mean"])
    assert float(table[3]["difference"]) == pytest.approx(difference)
    assert int(table[3]["wins"]) + int(table[3]["ties"]) + int(table[3]["losses"]) == 4
    assert "paper: AnimateDiff +freeinit\t0.9712\t0.9713\t0.2941\t0.6571" in result.stdout
    page = Path("out/page.html").read_text()
    assert page.count('class="card"') == 4
    assert page.count('class="strip"') == 16
    assert "paper: AnimateDiff +freeinit" in page
    assert [arm["second"] for arm in json.loads(Path("out/comparison.json").read_text())] == list(facts["arms"])[1:]


def test_what_is_there_is_neither_made_nor_measured_again(evaluate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from bytheway.cli import experiment

    assert evaluate().exit_code == 0
    before = clips()
    scores = {path: path.read_bytes() for path in Path("out").glob("*/*.json")}
    assert len(scores) == 4
    Path("out/enhanced", f"{PROMPTS[1]}-0.mp4").unlink()
    Path("out/vanilla", f"{PROMPTS[0]}-0.json").unlink()
    result = evaluate()
    assert result.exit_code == 0, result.output
    assert "3 of 4 clips are there already." in result.stderr
    after = clips()
    assert {name for name in after if after[name] != before[name]} == {f"enhanced/{PROMPTS[1]}-0.mp4"}
    assert {path: path.read_bytes() for path in scores} == scores, "the clip that was made again is the same"
    monkeypatch.setattr(experiment, "_make", lambda *arguments: pytest.fail("nothing is left to be made"))
    assert evaluate().exit_code == 0


def test_workers_make_the_same_clips_under_the_same_names(evaluate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool(LocalPool):
        """A worker in this process in the place of Ray's."""

        def __init__(self, choice: ModelChoice, place: str, **asked: Any) -> None:
            assert asked == {"address": "auto", "workers": None, "gpus": None, "cpus": 1}
            super().__init__(choice, open_store(place))

    monkeypatch.setattr("bytheway.batch.farm.RayPool", Pool)
    arms = ("--arms", "vanilla,freeinit,alpha=0.5 beta=4")

    def found() -> tuple[dict[str, str], Any]:
        made = {path: read_metadata(Path("out", path))["frames_sha256"] for path in clips()}
        return made, json.loads(Path("out/experiment.json").read_text())

    assert evaluate(*arms).exit_code == 0
    alone = found()
    Path("out").rename("alone")
    result = evaluate(*arms, "--address", "auto")
    assert result.exit_code == 0, (result.output, result.exception)
    assert found() == alone
    Path("out/freeinit", f"{PROMPTS[1]}-0.mp4").unlink()
    result = evaluate(*arms, "--address", "auto")
    assert "5 of 6 clips are there already." in result.stderr
    assert found() == alone
    place = Path("out/vanilla", f"{PROMPTS[1]}-0.mp4")
    place.write_bytes(Path("out/freeinit", f"{PROMPTS[1]}-0.mp4").read_bytes())
    Path("out/freeinit", f"{PROMPTS[0]}-0.mp4").unlink()
    refused(evaluate(*arms, "--address", "auto"), "was made with free_init True, not False")


def test_what_workers_cannot_make_is_said(evaluate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bytheway.batch.farm.RayPool", lambda choice, place, **asked: LocalPool(choice, open_store(place))
    )
    monkeypatch.setattr("bytheway.batch.maker.Maker.make", lambda *arguments: Failure("It breaks"))
    result = evaluate("--workers", 1)
    refused(result, "4 of 4 clips cannot be made; the same command tries them again.")
    assert "after 3 attempts: It breaks" in result.stderr


def test_an_experiment_grows(evaluate: Command) -> None:
    assert evaluate().exit_code == 0
    before = clips()
    Path("list.txt").write_text("\n".join([PROMPTS[1], "a white box slides to the right on sand"]))
    result = evaluate("--arms", "vanilla,enhanced,beta=3", "--seeds", 2)
    assert result.exit_code == 0, result.output
    assert "2 of 12 clips are there already." in result.stderr
    assert len(clips()) == 14, "clips that are not asked for any more stay"
    assert {name: clips()[name] for name in before} == before


def test_clips_of_other_settings_are_not_mixed(evaluate: Command) -> None:
    assert evaluate().exit_code == 0
    before = clips()
    for changes, said in (
        (["--steps", "3"], "out holds an experiment with steps asked for 1, not 3; give another folder (--output)."),
        (["--seed", "3"], "out holds an experiment with seed 0, not 3; give another folder (--output)."),
        (
            ["--model", "other"],
            "out holds an experiment with model diorama, not other; give another folder (--output).",
        ),
    ):
        refused(evaluate(*changes), said)
    assert clips() == before
    Path("out/enhanced", f"{PROMPTS[0]}-0.mp4").unlink()
    place = Path("out/enhanced", f"{PROMPTS[1]}-0.mp4")
    place.write_bytes(Path("out/vanilla", f"{PROMPTS[1]}-0.mp4").read_bytes())
    foreign = place.read_bytes()
    refused(evaluate(), "was made with config None, not {")
    assert place.read_bytes() == foreign


def test_a_model_judges_at_the_end_as_it_does_alone(
    evaluate: Command, bytheway: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with chat_server() as server:
        result = evaluate("--judge-model", "judge-1", "--endpoint", server.url)
        assert result.exit_code == 0, (result.output, result.exception)
        assert len(server.sent) == 2 * 3 * 2
        assert json.loads(Path("out/judge.json").read_text())["model"] == "judge-1"
        assert Path("out/page.html").exists()
        again = bytheway("judge", "out", "--model", "judge-1", "--endpoint", server.url)
        assert again.exit_code == 0, again.output
        assert len(server.sent) == 2 * 3 * 2, "it asks the very same"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge-model", "m", "--endpoint", "localhost"], "The endpoint is no URL such as"),
        (["--suite", "vbench"], "Give either a file of prompts (--prompts) or a suite (--suite)."),
        (["--prompts", "none.txt"], "none.txt cannot be read: No such file or directory."),
        (["--prompts", "empty.txt"], "empty.txt holds no prompt; write one a line."),
        (["--arms", "vanilla"], "An experiment compares at least two arms, such as vanilla,enhanced."),
        (["--arms", "vanilla,alpha=9"], "alpha is 9; it must lie between 0 and 1."),
        (["--model", "dioramo"], "did you mean diorama"),
        (["-o", "taken"], "taken is there already and is no experiment; give another folder (--output)."),
        (["-o", "damaged"], "damaged/experiment.json is damaged; remove it to go on with the clips that are there"),
        (["--frames", "1"], "The clip has 1 frame; temporal flickering requires 2"),
        (["--size", "20x20"], "The size is 20x20; both must be multiples of"),
        (["--measures", "imaging_quality"], "imaging_quality is measured by a network that you bring"),
    ],
)
def test_what_cannot_be(evaluate: Command, arguments: list[str], said: str) -> None:
    Path("empty.txt").write_text("# nothing\n")
    for folder, name in (("taken", "mine.txt"), ("damaged", "experiment.json")):
        Path(folder).mkdir()
        Path(folder, name).write_text("{")
    refused(evaluate(*arguments), said)
    assert [Path(folder).read_text() for folder in ("taken/mine.txt", "damaged/experiment.json")] == ["{", "{"]


def test_a_model_that_cannot_be_fetched(evaluate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights and no network: nothing is begun, and the folder is not there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(Path("cache").resolve()))
    result = evaluate("--model", "somebody/some-model")
    assert result.exit_code == 2
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.output
    assert not Path("out").exists()


def process(folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "bytheway", "evaluate", *SMALL, "-o", "out"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_kill_9_loses_the_clip_at_work_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after its first clip and again after its first scores; each file is written once, and all are whole."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("\n".join(PROMPTS))
    written: dict[Path, int] = {}
    for ending in (".mp4", ".json"):
        running = process(tmp_path)
        while running.poll() is None and ending not in {path.suffix for path in _whole(written)}:
            time.sleep(0.02)
        assert running.poll() is None, "it was to be killed at work"
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert not (tmp_path / "out/page.html").exists()
    assert process(tmp_path).wait() == 0
    _whole(written)
    made = [path for path in written if path.suffix == ".mp4"]
    assert len(made) == 2 * 2
    assert all(len(load_video(path)[0]) == 4 for path in made)
    assert (tmp_path / "out/page.html").exists()


def _whole(written: dict[Path, int]) -> set[Path]:
    """The clips and scores that are there, noted with their times; asserts that none was written twice."""
    there = {path for path in Path("out").glob("[!.]*/[!.]*") if path.suffix in (".mp4", ".json")}
    for path in there:
        assert written.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    return there
