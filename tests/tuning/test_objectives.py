"""What a search raises, and which measures tell it."""

from pathlib import Path
from typing import Any

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.measures.measure import Measurement
from bytheway.evaluation.scores import ClipScores
from bytheway.tuning.objectives import objectives_of, usual_objectives


class Gives:
    def __init__(self, *names: str) -> None:
        self.names = names


def scores(**values: float) -> ClipScores:
    found = {name: Measurement(name, value, (), (), "frame", "", None, vbench=False) for name, value in values.items()}
    return ClipScores(ClipFile(Path("a.mp4"), {}), 8, 64, 64, 8.0, found, {"flow_mean": "The clip has one frame."})


def test_measures_rise_or_fall_under_the_names_they_have() -> None:
    measures: Any = [Gives("flow_mean_rife_4", "flow_mean_scaled_rife_4"), Gives("temporal_flickering"), Gives("mine")]
    found = objectives_of(["flow_mean", "-temporal_flickering", "mine"], measures)
    assert [one.label for one in found] == ["flow_mean_rife_4", "less temporal_flickering", "mine"]
    of = scores(flow_mean_rife_4=2.0, temporal_flickering=0.9, mine=3.0)
    assert [one.of(of) for one in found] == [2.0, -0.9, 3.0]
    with pytest.raises(ByTheWayError, match=r"mine cannot be searched for: a.mp4 has no mine"):
        found[2].of(scores())
    with pytest.raises(ByTheWayError, match=r"flow_mean cannot be searched for: The clip has one frame."):
        objectives_of(["flow_mean", "mine"], [Gives("flow_mean", "mine")])[0].of(scores())  # type: ignore[list-item]


@pytest.mark.parametrize("texts", [[], ["mine"], ["mine", "-mine"]])
def test_one_objective_is_none(texts: list[str]) -> None:
    with pytest.raises(ByTheWayError, match="weighs at least two different objectives"):
        objectives_of(texts, [Gives("mine")])  # type: ignore[list-item]


def test_one_that_nobody_measures() -> None:
    with pytest.raises(ByTheWayError, match="No measure gives yours; those at hand give mine"):
        objectives_of(["mine", "yours"], [Gives("mine")])  # type: ignore[list-item]


def at_hand(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def load(wanted: tuple[str, ...], **how: Any) -> tuple[Any, ...]:
        assert how["offline"]
        if not set(wanted) <= set(names):
            raise ByTheWayError(f"The network of {wanted[0]} is not here.")
        return tuple(Gives(name) for name in wanted)

    monkeypatch.setattr("bytheway.evaluation.measures.loading.load_measures", load)


def test_the_usual_ones_are_those_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    at_hand(monkeypatch, "flow_mean", "subject_consistency", "background_consistency", "temporal_flickering")
    assert usual_objectives(MeasureChoice()) == ("flow_mean", "subject_consistency")
    at_hand(monkeypatch, "background_consistency", "temporal_flickering", "overall_consistency")
    expected = ("-temporal_flickering", "background_consistency", "overall_consistency")
    assert usual_objectives(MeasureChoice()) == expected, "proxies by their own names"
    at_hand(monkeypatch, "flow_mean", "temporal_flickering")
    with pytest.raises(ByTheWayError, match="Nothing here tells of structure, and without it a search finds flicker"):
        usual_objectives(MeasureChoice())
