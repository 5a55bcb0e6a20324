"""Clips enlarged, beside each other and on contact sheets."""

import numpy as np
import pytest

from bytheway.clips.frames import Frames
from bytheway.clips.sheets import contact_sheet, enlarge, factor_to_reach, side_by_side
from bytheway.errors import ByTheWayError


def test_enlarge(frames: Frames) -> None:
    assert factor_to_reach(256, 48) == 6
    assert factor_to_reach(48, 48) == factor_to_reach(48, 64) == 1
    large = enlarge(frames, 3)
    assert large.shape == (16, 144, 192, 3)
    np.testing.assert_array_equal(large[0, 100, 100], frames[0, 33, 33])
    assert enlarge(frames, 1) is frames


def test_side_by_side_keeps_order_and_pixels(frames: Frames) -> None:
    large = enlarge(frames, 6)
    red, dark = large, large // 2
    joined = side_by_side([("vanilla", red), ("enhanced", dark)])
    height, width = large.shape[1:3]
    gap = joined.shape[2] - 2 * width
    assert joined.shape[0] == 16
    assert 0 < gap < 20
    np.testing.assert_array_equal(joined[:, -height:, :width], red)
    np.testing.assert_array_equal(joined[:, -height:, -width:], dark)
    bar = joined[0, :-height]
    assert bar[:, :width].min() < 80  # ink
    assert bar[:, -width:].min() < 80
    assert (joined[0, :, width : width + gap] == 255).all()


def test_side_by_side_enlarges_small_clips_for_their_labels(frames: Frames) -> None:
    joined = side_by_side([("vanilla", frames), ("enhanced", frames)])
    assert joined.shape[1] > 6 * 48
    assert joined.shape[2] > 2 * 6 * 64


def test_side_by_side_refuses_other_shapes(frames: Frames) -> None:
    with pytest.raises(ByTheWayError, match="one shape"):
        side_by_side([("vanilla", frames), ("enhanced", frames[:3])])


def test_contact_sheet_shows_first_to_last(frames: Frames) -> None:
    frames[-1] = 0
    sheet = contact_sheet([("one", frames), ("a label " * 40, frames[:3])], columns=4, height=60)
    tile = round(60 * 64 / 48) + 4
    assert sheet.width == 4 + 4 * tile
    bar = sheet.height // 2 - 64
    pixels = np.asarray(sheet)
    assert (pixels[bar + 30, 4 + 3 * tile : 4 * tile] == 0).all()  # the last frame, black
    np.testing.assert_allclose(pixels[bar + 5, 40].astype(int), (40, 120, 220), atol=2)  # the first, its sky
    assert (pixels[-30, 4 + 3 * tile :] == 255).all()  # three frames leave the fourth place empty
