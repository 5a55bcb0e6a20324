"""Which measures are made ready, and that they give what they say they give."""

import numpy as np
import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import USUAL, MeasureChoice
from bytheway.evaluation.measures.measure import KINDS


def test_the_usual_ones_are_those_whose_networks_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is measured or named; nothing is fetched, and every measure gives the names that it says."""
    monkeypatch.setattr(
        "bytheway.evaluation.measures.backbones.weights.hub_file", lambda *arguments: pytest.fail("nothing is fetched")
    )
    measures, left_out = MeasureChoice(device="cpu").load()
    clip = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8)
    given = []
    for measure in measures:
        names = tuple(one.name for one in measure(clip, 8.0, "a cat"))
        assert names == measure.names
        given += names
    assert "temporal_flickering" in given
    for name in USUAL:
        assert any(one == name or one.startswith(f"{name}_") for one in given) != (name in left_out)
    assert all(reason.endswith(".") for reason in left_out.values())


def test_a_name_that_no_measure_has_is_refused_at_once() -> None:
    with pytest.raises(ByTheWayError, match="There is no measure 'beauty'; the measures are subject_consistency, "):
        MeasureChoice(("flow_mean", "beauty"))
    assert MeasureChoice(("beauty",), brought={"beauty": "net.pt"}).names == ("beauty",)
    assert set(USUAL) <= set(KINDS)
