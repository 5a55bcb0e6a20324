"""VBench's rules at their edges: thresholds, halves, counts of frames, sizes, averages, names of files."""

from __future__ import annotations

import json
from pathlib import PurePath

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bytheway.evaluation.measures.consistency import consistency, consistency_measurement
from bytheway.evaluation.measures.dynamic_degree import (
    flow_lengths,
    interval_of,
    moves,
    pairs_required,
    threshold_of,
    top5_mean,
)
from bytheway.evaluation.measures.frame_scores import for_imaging_quality
from bytheway.evaluation.measures.measure import Backbone, Measurement
from bytheway.evaluation.measures.motion_smoothness import in_bytes, scored_frames
from bytheway.evaluation.measures.overall_consistency import middle_indices
from bytheway.evaluation.measures.prepare import (
    centre_crop,
    cropped,
    for_clip,
    for_clip_in_bytes,
    for_dino,
    padded,
    padding,
    resized,
    said_for_clip,
    said_for_dino,
    shorter_side,
    within,
)
from bytheway.evaluation.measures.vbench import overall, prompt_of
from tests.evaluation.measures import goldens
from tests.evaluation.measures.goldens import CASES, EXTRA, needs_goldens


def measurement(name: str, value: float | bool, values: tuple[float, ...] = ()) -> Measurement:
    return Measurement(name, value, values, (), "frame", "", "higher", vbench=True)


@needs_goldens
@pytest.mark.parametrize("number", range(len(EXTRA.get("dynamic_rules", "n"))))
def test_whether_a_clip_moves(number: int) -> None:
    rule = EXTRA["dynamic_rules"][number]
    threshold, required = threshold_of(rule["height"], rule["width"]), pairs_required(rule["sampled_frames"])
    assert (threshold, required) == (rule["threshold"], rule["pairs_needed"])
    assert moves(rule["scores"], threshold, required) is rule["moves"]


@pytest.mark.parametrize(
    ("scores", "required", "moving"),
    [
        ([6.0, 6.0], 1, False),  # not above it
        ([6.0, 6.0001], 1, True),
        ([0.0], 0, True),  # two frames
        ([], 0, False),  # one frame: nothing is looked at
        ([7.0, 0.0, 7.0], 2, True),  # not one after the other
    ],
)
def test_moving_at_the_edges(scores: list[float], required: int, moving: bool) -> None:
    assert moves(scores, 6.0, required) is moving


@pytest.mark.parametrize(("fps", "interval"), [(12, 2), (20, 2), (28, 4), (7.7, 1), (4, 1), (0.1, 1)])
def test_halves_of_intervals_are_rounded_to_even(fps: float, interval: int) -> None:
    assert interval_of(fps) == interval


@needs_goldens
def test_intervals_by_rate() -> None:
    assert {fps: interval_of(float(fps)) for fps in EXTRA["frame_interval_by_fps"]} == EXTRA["frame_interval_by_fps"]


@pytest.mark.parametrize(("count", "required"), [(1, 0), (2, 0), (3, 1), (6, 2), (10, 2), (14, 4), (16, 4)])
def test_halves_of_pairs_are_rounded_to_even(count: int, required: int) -> None:
    assert pairs_required(count) == required


@needs_goldens
def test_score_of_a_flow() -> None:
    golden, flow = EXTRA["flow_score"], goldens.stored("extra")["flow"]
    assert int(flow[0, 0].numel() * 0.05) == golden["pixels_taken"]
    assert top5_mean(flow_lengths(flow)).item() == pytest.approx(golden["score"], rel=1e-6)


def test_the_fastest_twentieth_is_rounded_down() -> None:
    lengths = torch.arange(59.0).unsqueeze(0)  # 2.95 of them
    assert top5_mean(lengths).item() == (58 + 57) / 2


@needs_goldens
def test_consistency_of_features_and_its_averages() -> None:
    golden = EXTRA["consistency_from_features"]
    backbone = Backbone("any", "any", None)
    for name in ("subject_consistency", "background_consistency"):
        found = {}
        for clip, rows in golden["features"].items():
            one = consistency_measurement(name, torch.tensor(rows), backbone)
            assert one.value == pytest.approx(golden["per_video"][clip], abs=1e-6)
            found[clip] = measurement(name, one.value, one.values)
        assert overall(list(found.values())) == pytest.approx(golden["overall_one_process"], abs=1e-6)


def test_negative_cosines_count_as_none() -> None:
    found = consistency(torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0], [-1.0, 1.0]]))
    half = 0.5**0.5
    assert found.to_previous == pytest.approx((-1, 0, half), abs=1e-6)
    assert found.to_first == pytest.approx((-1, 0, -half), abs=1e-6)
    assert found.values == pytest.approx((0, 0, half / 2), abs=1e-6)


def test_two_frames_are_one_value() -> None:
    assert len(consistency(torch.eye(2)).values) == 1


@needs_goldens
@pytest.mark.parametrize("mode", ["custom", "standard"])
def test_averages_over_clips_are_those_that_vbench_wrote(mode: str) -> None:
    written = json.loads((goldens.VBENCH / f"{mode}_eval_results.json").read_text())
    by_value = {round(case["subject_consistency"]["video"], 9): case for case in CASES.values()}
    assert written
    for dimension, (number, clips) in written.items():
        found = []
        for clip in clips:
            case = next((c for c in by_value.values() if clip["video_path"].endswith(f"/{c['clip']}.mp4")), None)
            value = clip["video_results"]
            values = (value,)
            if dimension == "subject_consistency":
                case = case or by_value[round(value, 9)]
                steps = case[dimension]
                pairs = zip(steps["per_frame_to_previous"], steps["per_frame_to_first"], strict=True)
                values = tuple((max(0, one) + max(0, other)) / 2 for one, other in pairs)
            if dimension == "background_consistency":
                values = (clip["video_sim"] / clip["cnt_per_video"],) * clip["cnt_per_video"]
            found.append(measurement(dimension, value, values))
        assert overall(found) == pytest.approx(number, abs=1e-5), dimension


def test_the_average_of_imaging_quality_is_of_one() -> None:
    assert overall([measurement("imaging_quality", 60.0), measurement("imaging_quality", 70.0)]) == 0.65


@needs_goldens
def test_middles_of_intervals() -> None:
    for asked, indices in EXTRA["middle_indices"].items():
        wanted, count = map(int, asked.split(" of "))
        assert middle_indices(count, wanted) == indices
    assert middle_indices(1) == [0] * 8


@needs_goldens
def test_prompts_in_names_of_files() -> None:
    names = EXTRA["prompt_from_filename"]
    assert {name: prompt_of(PurePath(name).stem) for name in names} == names


@pytest.mark.parametrize(
    ("count", "frames"), [(3, [1]), (4, [1]), (5, [1, 3]), (16, [1, 3, 5, 7, 9, 11, 13]), (1, []), (2, [])]
)
def test_the_last_frame_of_an_even_number_is_not_scored(count: int, frames: list[int]) -> None:
    assert list(scored_frames(count)) == frames


def test_middles_are_rounded_down_and_clipped() -> None:
    middle = torch.tensor([-0.2, 0.0, 0.9999 / 255, 100.7 / 255, 1.0, 1.5]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert in_bytes(middle)[0, 0, :, 0].tolist() == [0, 0, 0, 100, 255, 255]


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((320, 512), (224, 358)),  # 358.4
        ((512, 320), (358, 224)),
        ((256, 256), (224, 224)),
        ((1080, 1920), (224, 398)),  # 398.2
        ((100, 101), (224, 226)),  # enlarged; 226.24
    ],
)
def test_the_longer_side_is_rounded_down(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert shorter_side(torch.empty(1, 3, *size), 224) == small


@pytest.mark.parametrize(
    ("size", "scaled"),
    [((513, 300), (512, 299)), ((512, 512), (512, 512)), ((64, 64), (64, 64)), ((720, 1280), (288, 512))],
)
def test_frames_for_imaging_quality_are_only_made_smaller(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    frames = torch.rand(1, 3, *size) * 255
    assert within(frames, 512) == scaled
    assert for_imaging_quality(frames).shape[-2:] == scaled
    assert for_imaging_quality(frames).max() <= 1


@pytest.mark.parametrize(("extra", "top"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_halves_of_crops_are_rounded_to_even(extra: int, top: int) -> None:
    frames = torch.arange(224.0 + extra).view(1, 1, -1, 1).expand(1, 1, -1, 224)
    cut = centre_crop(frames, 224)
    assert cut.shape == (1, 1, 224, 224)
    assert cut[0, 0, 0, 0].item() == top


@pytest.mark.parametrize(
    ("size", "multiple", "sides"),
    [((128, 136), 8, (0, 0, 0, 0)), ((130, 141), 8, (1, 2, 3, 3)), ((15, 17), 16, (7, 8, 0, 1))],
)
def test_padding_has_the_smaller_half_before(
    size: tuple[int, int], multiple: int, sides: tuple[int, int, int, int]
) -> None:
    assert padding(*size, multiple) == sides
    frames = torch.rand(1, 3, *size)
    whole = padded(frames, multiple)
    assert not any(side % multiple for side in whole.shape[-2:])
    assert torch.equal(whole[..., 0, 0], frames[..., 0, 0])
    assert torch.equal(cropped(whole, *size, multiple), frames)


def test_resizing_does_not_smooth_first_nor_round_nor_clamp() -> None:
    """Every other pixel is black: antialiasing would give grey, and bicubic resampling overshoots at the edge."""
    stripes = torch.zeros(1, 3, 448, 448)
    stripes[..., ::4] = 255
    assert for_dino(stripes).unique().numel() > 3
    torch.testing.assert_close(resized(stripes, (224, 224), "bilinear")[0, 0, 0, :2], torch.tensor([127.5, 0.0]))
    edge = torch.zeros(1, 3, 300, 300)
    edge[..., 150:] = 255
    assert for_clip(edge).amax() > (255 / 255 - 0.40821073) / 0.27577711 + 0.05
    assert for_clip_in_bytes(edge).amax() == pytest.approx((1 - 0.40821073) / 0.27577711, rel=1e-5)


def test_resizing_to_the_same_size_leaves_the_frames_as_they_are() -> None:
    frames = torch.rand(1, 3, 224, 300)
    assert resized(frames, (224, 300), "bicubic") is frames


@pytest.mark.parametrize(
    ("mode", "size"), [("bilinear", (100, 155)), ("bicubic", (224, 358)), ("bilinear", (400, 640))]
)
def test_resizing_is_torchvisions(mode: str, size: tuple[int, int]) -> None:
    try:
        from torchvision.transforms.v2 import functional as theirs
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    frames = torch.rand(2, 3, 320, 512, generator=torch.Generator().manual_seed(0)) * 255
    expected = theirs.resize(frames, list(size), interpolation=theirs.InterpolationMode(mode), antialias=False)
    assert torch.equal(resized(frames, size, mode), expected)
    assert torch.equal(resized(frames, size, mode), F.interpolate(frames, size=size, mode=mode, align_corners=False))


@pytest.mark.parametrize(
    ("size", "dino", "clip"),
    [
        ((224, 224), (), ()),
        (
            (320, 512),
            (
                "The frames of 512x320 pixels were made smaller to 358x224.",
                "The last 6 columns fill no patch and were not seen.",
            ),
            (
                "The frames of 512x320 pixels were made smaller to 358x224.",
                "Only the 224x224 pixels in the middle were seen.",
            ),
        ),
        (
            (64, 64),
            ("The frames of 64x64 pixels were enlarged to 224x224.",),
            ("The frames of 64x64 pixels were enlarged to 224x224.",),
        ),
        (
            (400, 224),
            (),
            ("Only the 224x224 pixels in the middle were seen.",),
        ),
    ],
)
def test_what_is_done_to_a_clip_is_said(size: tuple[int, int], dino: tuple[str, ...], clip: tuple[str, ...]) -> None:
    frames = np.zeros((1, *size, 3), np.uint8)
    assert (said_for_dino(frames), said_for_clip(frames)) == (dino, clip)
    pictures = torch.zeros(1, 3, *size)
    told = [f"{picture.shape[-1]}x{picture.shape[-2]}" for picture in (for_dino(pictures), for_clip(pictures))]
    assert not dino or "enlarged" in dino[0] or told[0] in dino[0]
    assert told[1] == "224x224"
