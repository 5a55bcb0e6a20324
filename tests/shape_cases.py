"""Wrong shapes where shapes are checked; test_shapes.py runs this in a process of its own."""

import pytest
import torch
from jaxtyping import TypeCheckError

from bytheway import ByTheWayConfig, method
from bytheway.attention import Layout, attend

MAPS = torch.full((1, 4, 2, 8, 8), 1 / 8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: method.attention_energy(MAPS[0]),
        lambda: method.band_energy(MAPS[..., :7], 7),
        lambda: method.disparity(MAPS, MAPS[:, :3]),
        lambda: method.self_guide(MAPS, MAPS.int(), 0.6),
        lambda: method.enhance_motion(MAPS, torch.ones(2), 7),
        lambda: method.bytheway_map(MAPS, MAPS, 0.6, 1.5, 7, conditional=torch.zeros(2, dtype=torch.int64)),
    ],
    ids=["no videos", "not square", "other pixels", "no floats", "a beta too many", "a video too many"],
)
def test_maps(call):
    with pytest.raises(TypeCheckError):
        call()


def test_query_key_and_value():
    rows, layout = torch.randn(8, 2, 8, 4), Layout(2, 1, (2, 2))
    assert attend(rows, rows, rows, layout, ByTheWayConfig(), scale=0.5).output.shape == rows.shape
    for query, key, value in [(rows, rows[:, :1], rows), (rows[0], rows[0], rows[0]), (rows, rows, rows[:, :, :7])]:
        with pytest.raises(TypeCheckError):
            attend(query, key, value, layout, ByTheWayConfig(), scale=0.5)
