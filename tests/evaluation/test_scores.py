"""Scores of clips: taken, written, read back and summed up."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import find_clips
from bytheway.evaluation.measures.measure import Measurement, PartlyMeasuredError
from bytheway.evaluation.measures.temporal_flickering import TemporalFlickering
from bytheway.evaluation.scores import (
    clip_scores_from,
    names_of,
    score_clip,
    scores_json,
    summary_of,
    values_of,
)
from bytheway.evaluation.statistics import share
from tests.evaluation.conftest import Brightness

Save = Callable[..., Path]


def test_each_clip_has_every_measure(save: Save, measures: Any) -> None:
    (clip,) = find_clips([save("a.webp", 50, step=10)])
    found = score_clip(clip, measures)
    assert (found.num_frames, found.height, found.width, found.fps) == (4, 16, 16, 8.0)
    assert found.measurements["brightness"].value == pytest.approx(65, abs=1)
    assert found.measurements["change"].value == pytest.approx(10, abs=1)
    assert found.measurements["changes"].value is True


def test_a_measure_that_fails_leaves_the_others(save: Save, measures: Any) -> None:
    clips = find_clips([save("one", 50, frames=1), save("two.webp", 70)])
    scores = [score_clip(clip, measures) for clip in clips]
    assert scores[0].failed == dict.fromkeys(
        ("change", "changes"), "The clip has one frame; change is measured from two frames on."
    )
    assert names_of(scores) == ["brightness", "change", "changes"]
    assert np.isnan(values_of(scores, "change")[0])
    assert summary_of(scores, "change").n == 1
    with pytest.raises(ByTheWayError, match=r"one: The clip has one frame"):
        score_clip(clips[0], measures[1:])


class Partly(Brightness):
    """A measure one of whose two measurements is made."""

    names = ("brightness", "darkness")

    def __call__(self, *arguments: Any) -> tuple[Measurement, ...]:
        raise PartlyMeasuredError("There is no darkness.", super().__call__(*arguments))


def test_what_a_measure_could_make_is_kept(save: Save) -> None:
    (clip,) = find_clips([save("a.gif", 50)])
    found = score_clip(clip, [Partly()])
    assert (list(found.measurements), found.failed) == (["brightness"], {"darkness": "There is no darkness."})


@pytest.mark.parametrize(("ending", "of_vbench"), [("gif", False), ("mp4", True)])
def test_frames_that_are_shown_longer_make_another_number_than_vbenchs(
    save: Save, ending: str, of_vbench: bool
) -> None:
    """A GIF stores equal neighbours once, and VBench measures what is stored."""
    (clip,) = find_clips([save(f"a.{ending}", 235, frames=6, step=10)])
    found = score_clip(clip, [TemporalFlickering()])
    told = found.measurements["temporal_flickering"]
    assert (found.num_frames, len(told.values), told.vbench) == (6, 5, of_vbench)
    assert [remark.startswith("The file holds 3 frames") for remark in told.remarks] == ([] if of_vbench else [True])
    (steady,) = find_clips([save(f"b.{ending}", 50, step=10)])
    assert score_clip(steady, [TemporalFlickering()]).measurements["temporal_flickering"].vbench


def test_scores_come_back_from_json_as_they_were(save: Save, measures: Any) -> None:
    (clip,) = find_clips([save("a.gif", 50, step=9, prompt="a cat", seed=3)])
    found = score_clip(clip, measures)
    stored = json.loads(json.dumps(found.to_dict()))
    again = clip_scores_from(stored, clip.path)
    assert (again.clip.made_from, again.measurements) == (("a cat", 3), found.measurements)
    assert again.to_dict() == found.to_dict()


def test_our_file_holds_nothing_but_json(save: Save, measures: Any) -> None:
    """A NaN is no JSON: null stands for it."""
    scores = [score_clip(clip, measures[:1]) for clip in find_clips([save("a.gif", 50)])]
    text = json.dumps(scores_json(scores), allow_nan=False)
    summary = json.loads(text)["summary"]["brightness"]
    assert (summary["n"], summary["low"]) == (1, None)
    assert math.isclose(summary["value"], values_of(scores, "brightness")[0])


def test_clips_of_a_prompt_are_resampled_together(save: Save, measures: Any) -> None:
    places = [save(f"{level}-{k}.webp", level, prompt=f"{level}", seed=k) for level in (40, 80) for k in range(5)]
    scores = [score_clip(clip, measures) for clip in find_clips(places)]
    found = summary_of(scores, "brightness")
    assert found.n == 2
    assert found.high - found.low == pytest.approx(40, abs=2), "one prompt or the other may be all that is drawn"


def test_a_share_has_an_interval_even_where_all_clips_agree(save: Save, measures: Any) -> None:
    places = [save(f"p{k}.webp", 50, step=10) for k in range(6)]
    scores = [score_clip(clip, measures) for clip in find_clips(places)]
    assert [one.clip.prompt for one in scores] == [f"p{k}" for k in range(6)]
    assert summary_of(scores, "changes") == share(6, 6)
    assert summary_of(scores, "changes").low < 0.7
