"""Votes on the pairs of a history."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from starlette.testclient import TestClient

from bytheway.errors import ByTheWayError
from bytheway.studio import judging as judging_module
from bytheway.studio.history import History
from bytheway.studio.judging import Judging
from tests.toys.experiments import clip_of

QUESTIONS = ("video_quality", "structure_rationality", "motion_consistency")
WATCHED = {"watched": 2.0, "loops": 1, "replays": 0, "screen": [800, 600]}


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "clips")


def save(history: History, prompt: str, seed: int, *, pair: bool = True) -> None:
    settings = {"prompt": prompt, "seed": seed, "config": {"alpha": 0.2}}
    history.save(clip_of(1, seed % 3), clip_of(0, seed % 3) if pair else None, 16.0, settings)


def test_without_a_pair_nothing_begins(history: History) -> None:
    save(history, "a ball", 1, pair=False)
    judging = Judging(history)
    assert judging.told() == {"pairs": 0, "page": None, "said": []}
    with pytest.raises(ByTheWayError, match="no pair to vote on"):
        judging.begin()


def test_votes_are_cast_on_the_page_and_told(history: History) -> None:
    for prompt, seed in (("a ball", 1), ("a ball", 2), ("a <b>star</b>", 1)):
        save(history, prompt, seed)
    save(history, "alone", 1, pair=False)
    judging = Judging(history)
    judging.begin()
    told = judging.told()
    assert (told["pairs"], told["of"], told["votes"]) == (3, 3, 0)
    assert judging.app("/") is None
    assert judging.app("/wrong/") is None
    app = judging.app(f"/{told['page']}")
    assert app is not None
    client = TestClient(app, base_url="http://127.0.0.1")
    root = f"/{told['page']}"
    headers = {"person": client.post(f"{root}api/people", json={"adult": True, "agreed": True}).json()["person"]}
    seen = set()
    while (pair := client.get(f"{root}api/next", headers=headers).json()["pair"]) is not None:
        seen.add(pair["prompt"])
        question = next(name for name in QUESTIONS if name not in pair["answers"])
        vote = {"item": pair["item"], "question": question, "answer": "left", **WATCHED}
        assert client.post(f"{root}api/votes", json=vote, headers=headers).status_code == 200
    assert seen == {"a ball", "a <b>star</b>"}
    told = judging.told()
    assert told["votes"] > 0
    assert told["heads"][:3] == ("question", "vanilla", "enhanced")
    assert [row[0] for row in told["rows"]] == list(QUESTIONS)
    judging.close()
    again = Judging(history)
    assert again.told()["votes"] == told["votes"], "another server goes on with the study"
    again.close()


def test_a_study_that_cannot_be_opened_is_left_out_and_said(history: History) -> None:
    save(history, "a ball", 1)
    judging = Judging(history)
    judging.begin()
    page = judging.told()["page"]
    judging.close()
    folder = history.folder / "judged"
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "zzz").write_bytes(b"no folder, and the latest by its name")
    damaged = folder / "99990101-000000" / "votes"
    damaged.mkdir(parents=True)
    (damaged / "votes.sqlite").write_bytes(b"no database" * 1000)
    again = Judging(history)
    assert again.app("/") is None
    told = again.told()
    assert told["page"] == page, "the one before it"
    again.close()
    for run in folder.iterdir():
        if run.is_dir() and run.name != "99990101-000000":
            (run / "votes" / "votes.sqlite").write_bytes(b"no database" * 1000)
    told = Judging(history).told()
    assert told["page"] is None
    assert len(told["said"]) == 2
    assert told["said"][-1].startswith("The study 99990101-000000 cannot be opened")


def test_others_are_answered_while_a_study_is_drawn(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    save(history, "a ball", 1)
    judging, draw, waited = Judging(history), judging_module._drawn, []

    def drawn(pairs: Any, folder: Path) -> Any:
        other = Thread(target=judging.app, args=("/",), daemon=True)
        other.start()
        other.join(60)
        waited.append(other.is_alive())
        return draw(pairs, folder)

    monkeypatch.setattr(judging_module, "_drawn", drawn)
    judging.begin()
    assert waited == [False]
    told = judging.told()
    assert (told["of"], told["said"]) == (1, [])
    judging.close()
