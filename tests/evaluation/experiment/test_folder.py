"""An experiment on disk."""

import json
from pathlib import Path
from typing import Any

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import parse_arms
from bytheway.evaluation.experiment.folder import Experiment, check_same, open_experiment, read_facts, write_facts
from bytheway.evaluation.measures.vbench import prompt_of

FACTS: dict[str, Any] = {"model": {"model": "diorama", "weights": "abc"}, "sampling": {"seed": 0, "steps": None}}


def test_clips_are_named_as_vbench_asks(tmp_path: Path) -> None:
    prompts = ("A cat, sleeping. (again)", "a/b: c?", "a_b_ c_", "é" * 300, "...", "a cat-3")
    experiment = Experiment(tmp_path, parse_arms("vanilla,enhanced"), prompts, 2)
    names = experiment.names()
    assert names[:6] == [
        "A cat, sleeping. (again)-0",
        "A cat, sleeping. (again)-1",
        "a_b_ c_-0",
        "a_b_ c_-1",
        "a_b_ c_ (2)-0",
        "a_b_ c_ (2)-1",
    ]
    assert len(set(names)) == len(names) == 12
    assert prompt_of(names[0]) == prompts[0]
    for arm in experiment.arms:
        for path in experiment.clips(arm):
            path.parent.mkdir(exist_ok=True)
            path.touch()
    assert experiment.complete
    experiment.clips(experiment.arms[1])[3].unlink()
    assert not experiment.complete


def test_facts_come_back(tmp_path: Path) -> None:
    assert read_facts(tmp_path / "new") is None
    assert read_facts(tmp_path) is None
    (tmp_path / ".bytheway-draft-x").mkdir()
    assert read_facts(tmp_path) is None, "what a killed command left is no experiment of somebody else's"
    write_facts(tmp_path, FACTS)
    there = read_facts(tmp_path)
    assert there is not None
    check_same(tmp_path, there, FACTS)


@pytest.mark.parametrize("part", ["model", "sampling"])
def test_another_model_or_sampling_is_refused(tmp_path: Path, part: str) -> None:
    name, before = next(iter(FACTS[part].items()))
    changed = {**FACTS, part: {**FACTS[part], name: 5}}
    with pytest.raises(ByTheWayError, match=f"holds an experiment with {name} {before}, not 5; give another folder"):
        check_same(tmp_path, FACTS, changed)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 1}', "null", "\x00", '{"format": 1, "model": [], "sampling": {}}',
     '{"format": 1, "model": {}, "sampling": "none"}'],
)  # fmt: skip
def test_a_damaged_file_is_said_to_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(ByTheWayError, match=r"experiment.json is damaged; remove it to go on"):
        read_facts(tmp_path)
    assert (tmp_path / "experiment.json").read_text() == text


def test_folders_of_others_are_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(ByTheWayError, match="is there already and is no experiment; give another folder"):
        read_facts(tmp_path)
    with pytest.raises(ByTheWayError, match="is there already and is no experiment"):
        read_facts(tmp_path / "holiday.mp4")
    (tmp_path / "experiment.json").write_text(json.dumps({**FACTS, "format": 99}))
    with pytest.raises(ByTheWayError, match="was written by another version"):
        read_facts(tmp_path)


def test_an_experiment_is_opened_as_it_was_made(tmp_path: Path) -> None:
    made = Experiment(tmp_path, parse_arms("vanilla,enhanced,alpha=0.4 beta=3"), ("a cat", "a dog"), 2)
    arms = {arm.name: {"folder": arm.folder} for arm in made.arms}
    write_facts(tmp_path, {**FACTS, "arms": arms, "seeds": [0, 1], "prompts": list(made.prompts)})
    assert open_experiment(tmp_path) == made


def test_a_folder_without_an_experiment_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ByTheWayError, match=r"holds no experiment; make one with `bytheway evaluate`"):
            open_experiment(folder)
    write_facts(tmp_path, FACTS)
    with pytest.raises(ByTheWayError, match=r"experiment.json is damaged"):
        open_experiment(tmp_path)
