"""`bytheway judge` and `bytheway vote` on the manifest that a run of `bytheway batch` has written, over HTTP both."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas
import pytest
from typer.testing import CliRunner, Result

from bytheway.cli import app
from bytheway.clips.frames import Frames
from bytheway.clips.read import load_video
from tests.evaluation.votes.test_serving import AGREED, QUESTIONS
from tests.toys.chat_server import Sent, answer, chat_server, completion
from tests.toys.vote_server import served

Command = Callable[..., Result]
PROMPTS = ("a red ball rolling to the right on grass", "at night a blue star spins")
FRAMES = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on the packaged model: two prompts under two arms."""
    folder = tmp_path_factory.mktemp("batch")
    jobs, out = folder / "jobs.txt", folder / "out"
    jobs.write_text("\n".join(PROMPTS))
    arguments = ["batch", jobs, "-o", out, "--arms", "vanilla,enhanced", "--steps", 2, "--frames", FRAMES]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    gc.unfreeze()  # as in conftest
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def clips(run: Path) -> dict[tuple[str, str], Frames]:
    """The frames of each clip, by prompt and arm as the manifest says them."""
    table = pandas.read_parquet(run / "manifest")
    found = {(row.prompt, row.arm): load_video(run / row.path)[0] for row in table.itertuples()}
    assert found.keys() == {(prompt, arm) for prompt in PROMPTS for arm in ("vanilla", "enhanced")}
    return found


def which(frames: Any, clips: dict[tuple[str, str], Frames]) -> tuple[str, str]:
    """Prompt and arm of the clip that frames come nearest to."""
    return min(clips, key=lambda name: float(np.abs(np.asarray(frames, dtype=float) - clips[name]).mean()))


def test_the_judge_is_shown_both_arms_of_each_prompt_in_both_orders(
    bytheway: Command, run: Path, clips: dict[tuple[str, str], Frames], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prefers the enhanced one, which it knows by its pixels, and so do the figures."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shown: list[tuple[str, str, str]] = []

    def respond(sent: Sent) -> Any:
        images = [np.asarray(image) for image in sent.images()]
        (prompt, first), (other, second) = (which(half, clips) for half in (images[:FRAMES], images[FRAMES:]))
        assert prompt == other
        assert prompt in sent.texts[0]
        shown.append((prompt, first, second))
        return completion(answer("A" if first == "enhanced" else "B"))

    with chat_server() as server:
        server.respond = respond
        asked = ["--endpoint", server.url, "--model", "judge-1", "--questions", "video_quality"]
        result = bytheway("judge", run / "manifest", *asked)
    assert result.exit_code == 0, (result.output, result.exception)
    orders = [("vanilla", "enhanced"), ("enhanced", "vanilla")]
    assert sorted(shown) == sorted((prompt, *order) for prompt in PROMPTS for order in orders)
    found = json.loads((run / "judge.json").read_text())
    told = {(one["prompt"], *one["arms"], one["verdict"]) for one in found["judgements"]}
    assert told == {(prompt, "vanilla", "enhanced", "enhanced") for prompt in PROMPTS}
    assert (run / "judge.html").read_text().count('class="card"') == 2


def test_people_vote_on_the_clips_of_each_prompt(
    bytheway: Command, run: Path, clips: dict[tuple[str, str], Frames], tmp_path: Path
) -> None:
    """Somebody who prefers the enhanced clip, wherever it is shown."""
    said = {"watched": 1, "loops": 1, "replays": 0, "screen": [1440, 900]}
    arguments = (run / "manifest", "--checks", 0)
    with served(*arguments) as server, httpx2.Client(base_url=server.address, trust_env=False) as client:
        headers = {"Person": client.post("api/people", json=AGREED).json()["person"]}
        state = client.get("api/next", headers=headers).json()
        voted = []
        while pair := state["pair"]:
            names = []
            for number, clip in enumerate(pair["clips"]):
                place = tmp_path / f"{number}.mp4"
                place.write_bytes(client.get(f"clips/{clip}.mp4").content)
                names.append(which(load_video(place)[0], clips))
            assert {prompt for prompt, _ in names} == {pair["prompt"]}
            assert {arm for _, arm in names} == {"vanilla", "enhanced"}
            side = "left" if names[0][1] == "enhanced" else "right"
            for question in QUESTIONS:
                vote = {"item": pair["item"], "question": question, "answer": side, **said}
                state = client.post("api/votes", json=vote, headers=headers).json()
            voted.append(pair["prompt"])
        assert sorted(voted) == sorted(PROMPTS)
        assert server.end()[0] == 0
    result = bytheway("vote", run / "manifest", "--results")
    assert result.exit_code == 0, (result.output, result.exception)
    told = json.loads((run / "votes" / "results.json").read_text())
    cells = [(one["arms"], one["question"], one["first"], one["second"], one["prompts"]) for one in told["cells"]]
    assert cells == [(["vanilla", "enhanced"], question, 0, 2, 2) for question in QUESTIONS]
