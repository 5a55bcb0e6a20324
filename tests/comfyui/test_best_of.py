"""Several seeds in ByTheWay (sample): what is kept, what is said, and how it is shown and ended."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from bytheway.errors import ByTheWayError
from bytheway.selection.best import best_of
from tests.comfyui import fakes
from tests.comfyui.sampling import PROMPT, sample

BEST = {"best_of": 3, "keep": 2, "aim": "motion", "steps": 3}


def test_what_is_kept_is_what_the_package_keeps_and_each_the_clip_of_its_seed_alone(pipe: Any) -> None:
    fakes.ProgressBar.made.clear()
    images, fps, settings, records, choice = sample(pipe, **BEST)
    [bar] = fakes.ProgressBar.made
    values = [value for value, _, _ in bar.seen]
    assert values == sorted(values)
    assert {of for _, of, _ in bar.seen} == {values[-1]} == {3 * 1 + 2 * 2}
    assert bar.seen[-1][2] is not None
    wanted = list(best_of(pipe.pipe, PROMPT, 3, keep=2, aim="motion", seed=3, steps=3, num_frames=8))
    seeds = [json.loads(one)["seed"] for one in settings]
    assert seeds == [clip.settings["seed"] for clip in wanted]
    assert len(images) == len(fps) == 2
    assert [len(one.record) > 0 for one in records] == [True, True]
    for image, one, seed in zip(images, records, seeds, strict=True):
        alone = sample(pipe, seed=seed, steps=3, record=True)
        assert torch.equal(image, alone[0][0])
        assert one.record.rows() == alone[3][0].record.rows()
    heading, *rows = [line.split() for line in choice.splitlines()[:4]]
    assert heading == ["seed", "motion", "structure", "kept", "why"]
    assert [row[0] for row in rows] == ["3", "4", "5"]
    assert {row[0] for row in rows if row[3] == "yes"} == set(map(str, seeds))
    assert "energy of the guided blocks" in choice
    assert "bytheway inspect diorama --clips 24" in choice


def test_the_user_can_end_it_and_the_next_run_is_as_if_nothing_had_been(pipe: Any, comfy: Any) -> None:
    short = {"steps": 2}
    before = sample(pipe, **short)[0][0]
    comfy.interrupt = True
    with pytest.raises(fakes.InterruptedByUserError):
        sample(pipe, **BEST)
    comfy.interrupt = False
    assert torch.equal(before, sample(pipe, **short)[0][0])


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"keep": 3}, "3 of 3 seeds are to be kept"), ({"preset": "own values", "active_share": 0.0}, "no active steps")],
)
def test_what_cannot_be_chosen_among(pipe: Any, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        sample(pipe, **BEST | changed)


def test_without_the_method_seeds_are_chosen_by_what_is_observed(pipe: Any) -> None:
    off = {"steps": 3, "preset": "off"}
    [image], _, [settings], _, choice = sample(pipe, **BEST | off | {"best_of": 2, "keep": 1})
    seed = json.loads(settings)["seed"]
    assert torch.equal(image, sample(pipe, **off, seed=seed)[0][0])
    assert "stopped after 1 steps" in choice
