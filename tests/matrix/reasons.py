"""Cells of the matrix that cannot be, each with its reason, and a test that the reason holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from tests.matrix import generation, techniques
from tests.matrix.features import Feature
from tests.matrix.rows import ROWS, Row
from tests.matrix.subject import Subject


@dataclass(frozen=True)
class Reason:
    """Why a cell cannot be.

    Attributes:
        text: a sentence.
        test: fails where the reason does not hold.
    """

    text: str
    test: Callable[[Subject], None]


def _refuses(message: str) -> Callable[[Subject], None]:
    """A batch of prompts is refused with these words, vanilla as well."""

    def refuse(subject: Subject) -> None:
        with pytest.raises((RuntimeError, IndexError, ValueError), match=message):
            subject.run(videos=(1, 0), steps=1)

    return refuse


def _refuses_several(message: str) -> Callable[[Subject], None]:
    """Several videos for a prompt are refused with these words, vanilla as well."""

    def refuse(subject: Subject) -> None:
        with pytest.raises(ValueError, match=message):
            subject.run(seeds=(0, 1), steps=1, **{generation.videos_argument(subject): 2})

    return refuse


def _has_no_single_step(subject: Subject) -> None:
    with pytest.raises(ZeroDivisionError):
        subject.run(steps=1)


def _makes_one_video(subject: Subject) -> None:
    assert len(subject.run(steps=1, **{generation.videos_argument(subject): 2})) == 1


# Their calls take `num_videos_per_prompt` and set it to 1.
_ONE_VIDEO: Final = (
    "animatediff",
    "animatediff_sdxl",
    "controlnet",
    "sparsectrl",
    "video_to_video",
    "video_to_video_controlnet",
    "pag",
    "pia",
    "cogvideox",
)

_ONE_OF_EACH: Final = "Its pipeline makes one video of each prompt."
_ONE_CLIP: Final = "Its pipeline takes one clip, whatever the number of prompts."

_EXCEPTIONS: Final[dict[tuple[str, str], Reason]] = {
    **{
        (row.name, "slicing"): Reason(
            "Its attention has a processor of its own, which slicing would replace.", techniques.no_slicing
        )
        for row in ROWS
        if row.joint
    },
    ("mochi", "steps_1"): Reason("Its schedule of timesteps has two steps at least.", _has_no_single_step),
    ("controlnet", "batch"): Reason(
        "Its pipeline sends the frames of one video to the ControlNet, whatever the number of prompts.",
        _refuses("size of tensor"),
    ),
    ("video_to_video_controlnet", "batch"): Reason(_ONE_CLIP, _refuses("out of bounds")),
    ("modelscope_video_to_video", "batch"): Reason(_ONE_CLIP, _refuses("invalid for input of size")),
    **{(row, "several_videos"): Reason(_ONE_OF_EACH, _makes_one_video) for row in _ONE_VIDEO},
    ("framepack", "several_videos"): Reason(_ONE_OF_EACH, _refuses_several("effective batch size of 1")),
    ("wan_vace", "several_videos"): Reason(_ONE_OF_EACH, _refuses_several("multiple videos per prompt is not yet")),
    ("wan_vace", "batch"): Reason("Its pipeline makes one video at a time.", _refuses("list of generators is not yet")),
}


def reason_of(row: Row, feature: Feature) -> Reason | None:
    """Why the cell cannot be; None where it can."""
    missing = feature.missing_in(row)
    if missing is None:
        return _EXCEPTIONS.get((row.name, feature.name))

    def still_missing(subject: Subject) -> None:
        assert type(subject.pipe) is row.pipeline_class
        assert feature.missing_in(subject.row) == missing

    return Reason(missing, still_missing)
