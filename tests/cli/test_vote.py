"""`bytheway vote` in this process, but for the serving itself, which tests/evaluation/votes/test_serving.py has."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bytheway.evaluation.votes import http
from bytheway.evaluation.votes.store import opened
from bytheway.evaluation.votes.vote import Vote
from tests.cli.test_process import process
from tests.toys.experiments import PROMPTS, make_experiment

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_experiment(tmp_path_factory.mktemp("vote") / "run", prompts=PROMPTS).folder


@pytest.fixture
def vote(bytheway: Command, made: Path, monkeypatch: pytest.MonkeyPatch, calls: dict[str, list[Any]]) -> Command:
    """Runs `bytheway vote run`; instead of serving it is ended at once."""
    shutil.copytree(made, "run")

    def ended(app: Any, listener: socket.socket) -> None:
        calls["served"].append(listener.getsockname())
        raise KeyboardInterrupt

    monkeypatch.setattr(http, "serve", ended)
    monkeypatch.setattr("webbrowser.open", calls["opened"].append)
    return lambda *arguments: bytheway("vote", "run", *arguments)


@pytest.fixture
def calls() -> dict[str, list[Any]]:
    return {"served": [], "opened": []}


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert said in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output


def everybody_prefers_enhanced(people: int) -> None:
    with opened(Path("run")) as store:
        study = store.study()
        assert study is not None
        for _ in range(people):
            person = store.number_of(store.join(study))
            assert person is not None
            while shown := store.open_items(person, study):
                second = study.all_pairs[shown[0].item.pair].altered is None
                answer = "left" if shown[0].item.swapped == second else "right"
                for question in study.questions:
                    store.vote(person, Vote(shown[0].id, question, answer, 1.0, 1, 0, (1, 1)), study)


def test_the_address_is_printed_and_opened(vote: Command, calls: dict[str, list[Any]]) -> None:
    result = vote("--pairs", 4)
    assert result.exit_code == 0, (result.output, result.exception)
    (host, port), address = calls["served"][0], result.stdout.strip()
    assert (host, address) == ("127.0.0.1", f"http://127.0.0.1:{port}/")
    assert calls["opened"] == [address]
    said = result.stderr.splitlines()
    assert said[0] == "Preparing the clips"
    assert said[1] == "Everybody is shown 6 pairs: 4 of 6 to compare; attention checks: 1; repeats: 1."
    assert sum(line.startswith("A person is left out by the rule") for line in said) == 3, "fixed beforehand"
    assert said[-1] == "Ended. Votes stored: 0."
    again = vote("--no-browser")
    assert again.stdout.strip() == address, "the port of the last time, which open pages know"
    assert len(calls["opened"]) == 1
    assert "Preparing the clips" not in again.stderr


def test_a_shared_study_has_a_secret_that_stays(vote: Command, calls: dict[str, list[Any]]) -> None:
    links = [vote("--share", "--no-browser").stdout.strip() for _ in range(2)]
    assert links[0] == links[1]
    assert re.fullmatch(r"http://[\d.]+:\d+/[\w-]{20,}/", links[0])
    assert calls["served"][0][0] == "0.0.0.0"


def test_a_study_that_has_begun_is_not_another(vote: Command) -> None:
    assert vote("--pairs", 4, "--checks", 0, "--questions", "video_quality, motion_consistency").exit_code == 0
    assert vote("--pairs", 4, "--checks", 0, "--questions", "motion_consistency,video_quality").exit_code == 0
    refused(vote("--pairs", 5), "has begun with pairs 4 and stays so; leave that out, or remove the folder votes")
    refused(vote("--checks", 0.1), "has begun with checks 0.0")
    refused(vote("--results", "--questions", "video_quality"), "has begun with questions video_quality, motion")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pairs", "0"], "Everybody is shown 0 pairs; give 1 or more (--pairs)."),
        (["--questions", "beauty"], "There is no question 'beauty'; the questions are video_quality,"),
        (["--questions", " , "], "No question is named"),
        (["--checks", "1"], "must be from 0 to 0.25 (--checks)."),
        (["--questions", "video_quality"], "leave the checks out, with a share of 0 (--checks)."),
        (["--results"], "Nobody has voted on run yet; begin with `bytheway vote run`."),
    ],
)
def test_what_cannot_be_is_refused(vote: Command, calls: dict[str, list[Any]], arguments: list[str], said: str) -> None:
    refused(vote(*arguments), said)
    assert calls["served"] == []
    refused(vote("--results"), "Nobody has voted on run yet")


def test_a_port_that_is_not_free_is_said(vote: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(
            vote("--port", taken.getsockname()[1]), "cannot be used: Address already in use; give another (--port)."
        )


def test_no_experiment_no_vote(bytheway: Command) -> None:
    Path("other").mkdir()
    Path("other", "clip.mp4").touch()
    refused(bytheway("vote", "other"), "other is there already and is no experiment")
    refused(bytheway("vote", "nowhere"), "nowhere holds no experiment; make one with `bytheway evaluate`.")
    refused(bytheway("vote", "nowhere", "--results"), "nowhere holds no experiment")


def test_what_is_missing_is_named(vote: Command) -> None:
    Path("run", "enhanced", f"{PROMPTS[3]}-0.mp4").unlink()
    result = vote()
    assert result.exit_code == 0
    assert f"Warning: run/enhanced/{PROMPTS[3]}-0.mp4 is not there; the pair is left out." in result.stderr


def test_results(vote: Command) -> None:
    assert vote().exit_code == 0
    everybody_prefers_enhanced(6)
    result = vote("--results")
    assert result.exit_code == 0, (result.output, result.exception)
    heads, *rows = (line.split("\t") for line in result.stdout.splitlines() if "\t" in line)
    assert heads[1:5] == ["vanilla", "enhanced", "tie", "both bad"]
    assert rows[0] == [
        "video_quality",
        "0",
        "36",
        "0",
        "0",
        "100.0% [90.4 to 100.0]",
        "100.0% to 100.0%",
        "2.9e-11",
        "enhanced",
        "–",
    ]
    assert "6 people take part; 6 have voted, 6 of them to the end; 0 withdrew. 108 votes are counted." in result.stdout
    assert "Attention checks answered right: 100.0%" in result.stdout
    assert "Intervals from fewer than 10 people or prompts are narrower than they should be." in result.stdout
    told = json.loads(Path("run/votes/results.json").read_text())
    assert [cell["ahead"] for cell in told["cells"]] == ["enhanced"] * 3
    assert told["left_out"] == {}
    assert [rule.partition(":")[0] for rule in told["rules"]] == ["checks", "one side", "contradicts"]


def test_results_of_three_arms(bytheway: Command, vote: Command) -> None:
    shutil.rmtree("run")
    make_experiment(Path("run"), "vanilla,enhanced,beta=3", PROMPTS[:2])
    assert vote("--checks", 0).exit_code == 0
    everybody_prefers_enhanced(2)
    result = vote("--results")
    assert result.exit_code == 0, (result.output, result.exception)
    assert sum(line.startswith("question\t") for line in result.stdout.splitlines()) == 3
    assert "preferred to vanilla\tenhanced\tbeta=3" in result.stdout
    assert "video_quality, vanilla and enhanced: " in result.stdout


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_what_is_not_installed_is_said_in_a_sentence(made: Path, missing: str) -> None:
    block = f"""
class Block:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == {missing!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
"""
    done = process(block, "vote", made, "--no-browser")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: A page in the browser needs starlette and uvicorn; install them (pip")
    assert len(done.stderr.splitlines()) == 1
