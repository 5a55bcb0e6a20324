"""Scores that are kept beside their clips."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.experiment.scoring import kept_or_measured
from bytheway.evaluation.measures.measure import Measurement

Save = Callable[..., Path]
CHOICE = MeasureChoice()


class Counted:
    """A measure that counts how often it is called."""

    def __init__(self, measure: Any) -> None:
        self.measure, self.names, self.calls = measure, measure.names, 0

    def __call__(self, *arguments: Any) -> tuple[Measurement, ...]:
        self.calls += 1
        found: tuple[Measurement, ...] = self.measure(*arguments)
        return found


@pytest.fixture
def counted(measures: Any) -> tuple[Counted, Counted]:
    return Counted(measures[0]), Counted(measures[1])


def calls(counted: tuple[Counted, Counted]) -> tuple[int, int]:
    return counted[0].calls, counted[1].calls


def test_a_clip_is_measured_once(save: Save, counted: tuple[Counted, Counted]) -> None:
    path = save("a.mp4", 50, step=5, prompt="a cat", seed=3)
    first = kept_or_measured(path, counted, CHOICE)
    again = kept_or_measured(path, counted, CHOICE)
    assert calls(counted) == (1, 1)
    assert again.measurements == first.measurements
    assert again.clip.made_from == ("a cat", 3)


def test_only_what_is_missing_is_measured(save: Save, counted: tuple[Counted, Counted]) -> None:
    path = save("a.mp4", 50, step=5)
    kept_or_measured(path, counted[:1], CHOICE)
    both = kept_or_measured(path, counted, CHOICE)
    assert calls(counted) == (1, 1)
    assert list(both.measurements) == ["brightness", "change", "changes"]
    assert list(kept_or_measured(path, counted[1:], CHOICE).measurements) == ["change", "changes"]
    assert calls(counted) == (1, 1)


def test_what_failed_is_kept_too(save: Save, counted: tuple[Counted, Counted]) -> None:
    path = save("a.mp4", 50, frames=1)
    found = [kept_or_measured(path, counted, CHOICE).failed for _ in range(2)]
    assert found[0] == found[1]
    assert list(found[0]) == ["change", "changes"]
    assert calls(counted) == (1, 1)


def test_a_changed_clip_or_network_is_measured_anew(save: Save, counted: tuple[Counted, Counted]) -> None:
    path = save("a.mp4", 50, step=5)
    before = kept_or_measured(path, counted, CHOICE)
    save("a.mp4", 90, step=5)
    after = kept_or_measured(path, counted, CHOICE)
    assert after.measurements["brightness"].value > before.measurements["brightness"].value + 30
    kept_or_measured(path, counted, MeasureChoice(flow="rife"))
    assert calls(counted) == (3, 3)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}', "whole"])
def test_damaged_scores_are_made_anew(save: Save, counted: tuple[Counted, Counted], damage: str) -> None:
    path = save("a.mp4", 50, step=5)
    whole = kept_or_measured(path, counted, CHOICE)
    beside = path.with_suffix(".json")
    stored = json.loads(beside.read_text())
    del stored["scores"]["measurements"]["brightness"]["values"]
    beside.write_text(json.dumps(stored) if damage == "whole" else damage)
    assert kept_or_measured(path, counted, CHOICE).measurements == whole.measurements
    assert calls(counted) == (2, 2)


def test_what_was_measured_is_still_there_where_all_that_is_new_fails(
    save: Save, counted: tuple[Counted, Counted]
) -> None:
    path = save("a.mp4", 50, frames=1)
    kept_or_measured(path, counted[:1], CHOICE)
    both = kept_or_measured(path, counted, CHOICE)
    assert (list(both.measurements), list(both.failed)) == (["brightness"], ["change", "changes"])
    with pytest.raises(ByTheWayError, match="The clip has one frame"):
        kept_or_measured(save("b.mp4", 50, frames=1), counted[1:], CHOICE)


@pytest.mark.parametrize("place", ["net.pt", "folder/model.safetensors"])
def test_another_network_at_the_same_place_measures_anew(
    save: Save, counted: tuple[Counted, Counted], tmp_path: Path, place: str
) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"one")
    at = str(file if place == "net.pt" else file.parent)
    choice = MeasureChoice(brought={"mine": at}) if place == "net.pt" else MeasureChoice(weights={"DINO ViT-B/16": at})
    path = save("a.mp4", 50)
    kept_or_measured(path, counted[:1], choice)
    kept_or_measured(path, counted[:1], choice)
    assert counted[0].calls == 1
    file.write_bytes(b"another")
    kept_or_measured(path, counted[:1], choice)
    assert counted[0].calls == 2
