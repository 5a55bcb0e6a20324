"""Two sets of clips against each other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import find_clips
from bytheway.evaluation.comparison import Comparison, compare
from bytheway.evaluation.scores import ClipScores, score_clip
from bytheway.evaluation.statistics import Outcomes, mean

Save = Callable[..., Path]
Scored = Callable[..., ClipScores]


@pytest.fixture
def scored(save: Save, measures: Any) -> Scored:
    return lambda *arguments, **options: score_clip(find_clips([save(*arguments, **options)])[0], measures)


@pytest.fixture
def comparison(scored: Scored) -> Comparison:
    """The second is 5 brighter in four of six prompts, the same in one, 9 darker in one, and changes more in all."""
    shifts = (5, 5, 5, 5, 0, -9)
    pairs = [
        (scored(f"A/p{k}", 60 + 9 * k, step=1), scored(f"B/p{k}", 60 + 9 * k + shift, step=4))
        for k, shift in enumerate(shifts)
    ]
    return compare(("A", "B"), pairs)


def test_differences_are_paired(comparison: Comparison) -> None:
    brightness, change, _ = comparison.contrasts
    differences = brightness.differences
    assert differences == pytest.approx(np.array([9.5, 9.5, 9.5, 9.5, 4.5, -4.5]), abs=1)
    assert brightness.difference == mean(differences)
    assert brightness.second.value - brightness.first.value == pytest.approx(brightness.difference.value)
    assert brightness.difference.high - brightness.difference.low < 0.5 * (brightness.first.high - brightness.first.low)
    assert brightness.outcomes == Outcomes(5, 0, 1)
    assert change.outcomes == Outcomes(0, 0, 6), "less change is better"
    assert (brightness.ahead, change.ahead) == ("second", "first")


def test_its_json_has_every_figure(comparison: Comparison) -> None:
    stored = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert stored["measures"]["change"]["outcomes"]["losses"] == 6
    assert stored["measures"]["brightness"]["difference"]["n"] == stored["prompts"] == 6
    differences = [one["differences"]["brightness"] for one in stored["pairs"]]
    assert differences == pytest.approx(comparison.contrasts[0].differences)


@pytest.mark.parametrize(
    ("other", "said"),
    [({"frames": 5}, "have 4 and 5 frames"), ({"side": 32}, "have 16x16 and 32x32 pixels")],
)
def test_clips_of_another_length_or_size_are_left_out(scored: Scored, other: dict[str, Any], said: str) -> None:
    same = (scored("A/1.webp", 50), scored("B/1.webp", 60))
    odd = (scored("A/2.webp", 50), scored("B/2.webp", 60, **other))
    found = compare(("A", "B"), [odd, same], ["B/3.webp has no partner."])
    assert found.pairs == (same,)
    assert [said in reason for reason in found.left_out] == [False, True]
    with pytest.raises(ByTheWayError, match=f"No pair of clips can be compared: .*{said}"):
        compare(("A", "B"), [odd])


def test_a_pair_of_which_one_could_not_be_measured(scored: Scored) -> None:
    short = (scored("A/1.webp", 50, frames=1), scored("B/1.webp", 60, frames=1))
    whole = (scored("A/2.webp", 50), scored("B/2.webp", 60))
    found = compare(("A", "B"), [short, whole])
    brightness, change, _ = found.contrasts
    assert (brightness.difference.n, change.difference.n) == (2, 1)
    assert np.isnan(change.differences[0])


def test_frame_rates_of_a_gif_are_close_enough(save: Save, measures: Any) -> None:
    """Another program's GIF of 8 frames a second has 8.33, since it counts hundredths of a second."""
    from PIL import Image

    mp4 = save("A/1.mp4", 50)
    gif = mp4.parent.parent / "1.gif"
    frames = [Image.new("RGB", (16, 16), (50, 50, 50 + k)) for k in range(4)]
    frames[0].save(gif, save_all=True, append_images=frames[1:], duration=120)
    pairs = [tuple(score_clip(find_clips([path])[0], measures) for path in (mp4, gif))]
    assert len(compare(("A", "B"), pairs).pairs) == 1  # type: ignore[arg-type]


def test_from_few_prompts_nothing_is_told(scored: Scored) -> None:
    """Five that all agree would do so by chance in 1 of 16 comparisons."""
    pairs = [(scored(f"A/p{k}", 50 + k), scored(f"B/p{k}", 60 + 2 * k)) for k in range(6)]
    assert compare(("A", "B"), pairs).contrasts[0].ahead == "second"
    few = compare(("A", "B"), pairs[:5]).contrasts[0]
    assert few.difference.differs
    assert few.ahead is None


def test_the_sign_test_is_over_prompts(scored: Scored) -> None:
    """Four clips of each of three prompts tell no more than three prompts can."""
    pairs = []
    for prompt in "abc":
        for seed in range(4):
            both = (
                scored(f"{side}/{prompt}{seed}.gif", level, prompt=prompt, seed=seed)
                for side, level in (("A", 60), ("B", 80))
            )
            pairs.append(tuple(both))
    brightness = compare(("A", "B"), pairs).contrasts[0]  # type: ignore[arg-type]
    assert brightness.outcomes == Outcomes(12, 0, 0)
    assert brightness.p_value == pytest.approx(2 * 0.5**3)
