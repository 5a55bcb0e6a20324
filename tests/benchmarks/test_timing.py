"""Rounds and clocks."""

import time

import torch

from benchmarks.columns import FREE_INIT, OURS, VANILLA
from benchmarks.models import Subject
from benchmarks.timing import interleave, now, timed_run
from tests.toys import tiny


def test_columns_take_turns() -> None:
    calls: list[str] = []
    columns = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}
    assert interleave(columns, 3, 60.0) == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}
    assert "".join(calls) == "abccbaabc"


def test_three_rounds_are_made_whatever_the_time() -> None:
    assert interleave({"a": lambda: 1}, 9, 0.0) == {"a": [1, 1, 1]}
    assert interleave({"a": lambda: 1}, 2, 0.0) == {"a": [1, 1]}


def test_no_round_is_begun_that_would_not_be_done_in_time() -> None:
    """But the first, and whatever else is asked for."""
    slow = {"a": lambda: time.sleep(0.05)}
    assert interleave(slow, 9, 60.0, end=time.monotonic()) == {"a": [None]}
    assert len(interleave(slow, 9, 60.0, end=time.monotonic() + 0.13)["a"]) in (1, 2)
    assert len(interleave(slow, 4, 60.0, end=time.monotonic() + 60)["a"]) == 4


def test_a_run_has_a_time_for_each_of_its_steps() -> None:
    pipe = tiny.make_pipeline(channels=(32, 32))
    call = {"prompt": "a red ball", "num_frames": 4, "height": 8, "width": 8, "guidance_scale": 5.0}
    subject = Subject(pipe, call | {"output_type": "latent"})
    hooks = len(pipe.unet._forward_pre_hooks)
    for column, steps in ((VANILLA, 2), (OURS, 2), (FREE_INIT, 6)):
        start = now(torch.device("cpu"))
        times = timed_run(subject, column, 2)
        assert len(times.steps) == steps
        assert 0 < sum(times.steps) < times.whole < now(torch.device("cpu")) - start
    assert len(pipe.unet._forward_pre_hooks) == hooks
    assert not pipe.free_init_enabled
