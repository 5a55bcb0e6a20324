"""A record as curves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bytheway import ByTheWayConfig, enhanced, observe
from bytheway.attention.measures import Measures
from bytheway.diagnosis.curves import curves_of
from bytheway.errors import ByTheWayError
from bytheway.record import Entry, Record
from tests.diagnosis.records import ANCHOR, SECOND, THIRD, record_of
from tests.toys.tiny import generate

HALF = ByTheWayConfig(active_steps=0.5)


def test_curves_are_means_over_sites_and_windows() -> None:
    record = Record()
    for window, index, energies in ((0, (0, 0), (0.2, 0.3)), (0, (0, 1), (0.4, 0.5)), (1, (0, 0), (0.6, 0.7))):
        one = torch.tensor(energies)
        record.add(Entry(0, 3, 900.0, SECOND, index, window, Measures(one, one, one * 2, torch.ones(2))))
    curves = curves_of(record, video=1)
    assert (curves.blocks, curves.steps, curves.timesteps) == ((SECOND,), (3,), (900.0,))
    np.testing.assert_allclose(curves.energy[SECOND], [0.5])
    np.testing.assert_allclose(curves.disparity[SECOND], [1.0])


def test_of_several_runs_the_last_counts() -> None:
    record = record_of({SECOND: [0.1, 0.2]}, {})
    for entry in list(record._entries):
        record.add(replace(entry, run=1, measures=entry.measures._replace(energy=entry.measures.energy + 1)))
    np.testing.assert_allclose(curves_of(record).energy[SECOND], [1.1, 1.2])


@pytest.mark.parametrize("watch", [lambda pipe: enhanced(pipe, HALF), observe])
def test_anchor_and_guided_blocks_are_told_by_their_disparity(tiny_pipeline: Any, watch: Any) -> None:
    """Enhanced, and observed, where blocks before the anchor are recorded too."""
    with watch(tiny_pipeline) as run:
        generate(tiny_pipeline, num_inference_steps=4)
    curves = curves_of(run.record)
    assert curves.anchor == ANCHOR
    assert curves.guided == (SECOND, THIRD)
    assert curves.blocks[-3:] == (ANCHOR, SECOND, THIRD)
    rows = [row for row in run.record.rows() if row.block == THIRD and row.step == 1]
    assert curves.energy[THIRD][1] == pytest.approx(np.mean([row.energy for row in rows]))
    first = curves.first(1)
    assert (first.steps, first.energy[THIRD].tolist()) == ((0,), [curves.energy[THIRD][0]])


def test_a_model_without_levels_has_no_anchor() -> None:
    curves = curves_of(record_of({"transformer_blocks": [0.1, 0.2]}, {}))
    assert curves.anchor is None
    assert curves.guided == curves.blocks == ("transformer_blocks",)


def test_nothing_recorded() -> None:
    with pytest.raises(ByTheWayError, match=r"Nothing was recorded of this clip.*record a run with active steps"):
        curves_of(Record())
