"""The first steps of vanilla clips: what `observe` records of whole runs, without the rest of them."""

from typing import Any

import pytest

from bytheway import observe
from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.curves import curves_of
from bytheway.errors import ByTheWayError
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.generation.run import make_clips
from bytheway.tuning.observing import candidates, first_steps
from tests.toys import joint

CONFIG = ByTheWayConfig(active_steps=0.5, anchor_block="up_blocks.2")  # which is not asked for


def test_the_first_steps_are_those_of_whole_runs(tiny_pipeline: Any) -> None:
    job = check(Request(("a cat", "a dog"), seed=3, steps=4, num_frames=8, config=None), tiny_pipeline)
    begun: list[str] = []
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = tiny_pipeline.unet.register_forward_hook(count)
    anchors = ("up_blocks.1", "up_blocks.2")
    found = first_steps(tiny_pipeline, job, CONFIG, anchors, lambda clip: begun.append(clip.prompt))
    handle.remove()
    assert begun == ["a cat", "a dog"]
    assert calls == 2 * 2, "two of four steps of each clip, once for both anchors"
    for anchor in anchors:
        with observe(tiny_pipeline, CONFIG.replace(anchor_block=anchor)) as run:
            next(iter(make_clips(tiny_pipeline, job)))
        whole, first = curves_of(run.record), found[anchor][0]
        assert first.steps == (0, 1)
        assert whole.steps == (0, 1, 2, 3)
        assert first.anchor == whole.anchor == anchor
        assert first.guided == whole.guided
        for block in (anchor, *whole.guided):
            assert first.energy[block].tolist() == whole.energy[block][:2].tolist()
        for block in whole.guided:
            assert first.disparity[block].tolist() == whole.disparity[block][:2].tolist()
    assert set(found["up_blocks.2"][0].blocks) == {"up_blocks.2", "up_blocks.3"}, "no block before an anchor twice"


def test_blocks_that_could_guide_others(tiny_pipeline: Any) -> None:
    assert candidates(tiny_pipeline, ByTheWayConfig()) == ("up_blocks.1", "up_blocks.2")
    assert candidates(tiny_pipeline, ByTheWayConfig(anchor_block="up_blocks.2")) == ("up_blocks.2",)


def test_models_without_maps_are_refused() -> None:
    with pytest.raises(ByTheWayError):
        candidates(joint.wan()[0], ByTheWayConfig())
