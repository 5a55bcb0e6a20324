"""Maps of a run, small enough to look at."""

from typing import Any

import numpy as np
import pytest

from bytheway import ByTheWayConfig, enhanced
from bytheway.diagnosis.maps import watch_maps
from tests.toys.tiny import generate

CONFIG = ByTheWayConfig(alpha=0.6, beta=4.0, active_steps=1.0)
SIZE = {"num_frames": 6, "num_inference_steps": 3}


@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_maps_are_those_of_the_record_and_change_nothing(tiny_pipeline: Any, guidance: float) -> None:
    """A mean over pixels and heads has no more energy than they have in the mean, and rows that sum to 1."""
    with enhanced(tiny_pipeline, CONFIG) as run:
        wanted = generate(tiny_pipeline, guidance_scale=guidance, **SIZE)
    with (
        enhanced(tiny_pipeline, CONFIG, record=False),
        watch_maps(tiny_pipeline, CONFIG, guided=guidance > 1, calls=2) as maps,
    ):
        assert (generate(tiny_pipeline, guidance_scale=guidance, **SIZE) == wanted).all()
    assert list(maps) == ["up_blocks.1", "up_blocks.2", "up_blocks.3"]
    for block, of_block in maps.items():
        assert [one.shape for one in of_block] == [(6, 6)] * 2
        rows = [row for row in run.record.rows() if row.block == block and (row.module, row.attention) == (0, 0)]
        for row, one in zip(rows, of_block, strict=False):
            np.testing.assert_allclose(one.sum(-1), 1, rtol=1e-5)
            assert 1 / 6 <= (one**2).sum(-1).mean() <= row.energy + 1e-6


def test_hooks_are_gone_afterwards(tiny_pipeline: Any) -> None:
    with watch_maps(tiny_pipeline, CONFIG, guided=True, calls=1) as maps:
        pass
    assert maps == {"up_blocks.1": [], "up_blocks.2": [], "up_blocks.3": []}
    assert not any(module._forward_pre_hooks for module in tiny_pipeline.unet.modules())
