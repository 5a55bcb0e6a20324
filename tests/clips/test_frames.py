"""A clip in memory, from everything that pipelines return."""

import numpy as np
import pytest
import torch
from PIL import Image

from bytheway.clips.frames import Frames, as_frames
from bytheway.errors import ByTheWayError


def test_as_frames_reads_what_pipelines_return(frames: Frames) -> None:
    floats = frames / np.float32(255)
    for clip in (
        frames,
        floats,
        list(frames),
        [Image.fromarray(frame) for frame in frames],
        [Image.fromarray(frame).convert("RGBA") for frame in frames],
        torch.tensor(frames),
        torch.tensor(floats).movedim(-1, 1),
    ):
        np.testing.assert_array_equal(as_frames(clip), frames)
    half = as_frames(torch.tensor(floats).movedim(-1, 1).bfloat16())
    assert np.abs(half.astype(int) - frames).max() <= 1


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (np.zeros((4, 8, 8)), "shape"),
        (np.zeros((0, 8, 8, 3)), "shape"),
        (np.full((2, 8, 8, 3), np.nan), r"^All 2 frames hold NaN; make them anew\.$"),
        (np.full((2, 8, 8, 3), np.inf), "All 2 frames hold infinite values"),
        (np.where(np.arange(4)[:, None, None, None] < 2, 0.5, np.full((4, 8, 8, 3), np.nan)), "2 of the 4 frames hold"),
        (torch.full((2, 3, 8, 8), torch.nan).half(), "All 2 frames hold NaN"),
    ],
)
def test_as_frames_refuses(clip: np.ndarray, said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        as_frames(clip)
