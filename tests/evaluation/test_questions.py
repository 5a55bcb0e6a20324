"""The questions by their names."""

from __future__ import annotations

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.questions import QUESTIONS, questions_named


def test_questions_are_found_by_name() -> None:
    assert [question.title for question in QUESTIONS] == [
        "Video quality",
        "Structure rationality",
        "Motion consistency",
    ]
    named = questions_named(["motion_consistency", "video_quality", "motion_consistency"])
    assert named == (QUESTIONS[2], QUESTIONS[0])
    with pytest.raises(ByTheWayError, match="There is no question 'beauty'; the questions are video_quality, "):
        questions_named(["video_quality", "beauty"])
    with pytest.raises(ByTheWayError, match="No question is named"):
        questions_named([])
