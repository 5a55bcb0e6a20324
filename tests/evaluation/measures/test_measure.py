"""What measures give: names, units, directions, backbones, and that asking for them needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.aesthetic_quality import AestheticQuality
from bytheway.evaluation.measures.backbones.backbone import Flow
from bytheway.evaluation.measures.backbones.brought import Brought, BroughtNetwork
from bytheway.evaluation.measures.backbones.clip import Clip
from bytheway.evaluation.measures.backbones.dino import Dino
from bytheway.evaluation.measures.backbones.laion import load_head
from bytheway.evaluation.measures.background_consistency import BackgroundConsistency
from bytheway.evaluation.measures.dynamic_degree import FLOW_MEASURES, FlowMeasures
from bytheway.evaluation.measures.frame_scores import FrameScores
from bytheway.evaluation.measures.measure import KINDS, Backbone, Measure, PartlyMeasuredError, named
from bytheway.evaluation.measures.motion_smoothness import MotionSmoothness
from bytheway.evaluation.measures.overall_consistency import OverallConsistency
from bytheway.evaluation.measures.placement import Placement
from bytheway.evaluation.measures.subject_consistency import SubjectConsistency
from bytheway.evaluation.measures.temporal_flickering import TemporalFlickering
from tests.evaluation.measures.goldens import needs_goldens


class ShiftFlow(Flow):
    """A flow that says what it is told: so many pixels to the right, of every pixel."""

    def __init__(self, placement: Placement, pixels: float, name: str = "RAFT-large") -> None:
        self.backbone, self.placement, self.pixels = Backbone(name, "test", None), placement, pixels
        self.batches: list[int] = []
        self.remarks = ()

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        self.batches.append(len(first))
        return torch.tensor([self.pixels, 0.0]).view(1, 2, 1, 1).expand(len(first), 2, *first.shape[-2:])

    def enlargement(self, height: int, width: int) -> int:
        return 1


def mean_of_two(first: Tensor, second: Tensor) -> Tensor:
    return (first + second) / 2


def sharpness(frames: Tensor) -> Tensor:
    return frames.diff(dim=-1).abs().mean((1, 2, 3))


@pytest.fixture
def measures(place: Placement, dino: Dino, clip_b: Clip, clip_l: Clip) -> dict[str, Measure]:
    def brought(network: object, name: str) -> BroughtNetwork:
        return BroughtNetwork(Brought(network, name), place)  # type: ignore[arg-type]

    return {
        "subject_consistency": SubjectConsistency(dino),
        "background_consistency": BackgroundConsistency(clip_b),
        "aesthetic_quality": AestheticQuality(clip_l, load_head()),
        "motion_smoothness": MotionSmoothness(brought(mean_of_two, "AMT-S")),
        "temporal_flickering": TemporalFlickering(),
        "dynamic_degree": FlowMeasures(ShiftFlow(place, 5.0)),
        "imaging_quality": FrameScores("imaging_quality", brought(sharpness, "MUSIQ")),
        "overall_consistency": OverallConsistency(brought(lambda pictures, prompt: 0.25, "ViCLIP")),
    }


@needs_goldens
def test_every_measure_tells_all_of_its_numbers(measures: dict[str, Measure], frames: Frames) -> None:
    found = [one for measure in measures.values() for one in measure(frames, 8, "a red square")]
    assert [one.name for one in found] == [name for measure in measures.values() for name in measure.names]
    assert {one.name.removesuffix("_dino_small").removesuffix("_clip_small") for one in found} == set(KINDS)
    for one in found:
        assert len(one.values) == len(one.at)
        assert all(len(series) == len(one.values) for series in one.details.values())
        assert all(0 <= index < len(frames) for index in one.at)
        if one.name not in ("dynamic_degree", "motion_smoothness"):
            assert one.value == pytest.approx(np.mean(one.values))
        again = json.loads(json.dumps(asdict(one)))
        assert again["backbones"] == [asdict(backbone) for backbone in one.backbones]
        assert type(again["value"]) is type(one.value)
    assert [one.vbench for one in found if one.name == "motion_smoothness"] == [True]
    assert [name for measure in measures.values() for name in measure.names][5:10] == list(FLOW_MEASURES)
    for kind in KINDS.values():
        one = next(one for one in found if one.name.startswith(kind.name))
        assert (one.unit, one.direction) == (kind.unit, kind.direction)


@needs_goldens
@pytest.mark.parametrize(
    ("name", "fewest"),
    [
        ("subject_consistency", 2),
        ("background_consistency", 2),
        ("aesthetic_quality", 1),
        ("motion_smoothness", 3),
        ("temporal_flickering", 2),
        ("dynamic_degree", 2),
        ("imaging_quality", 1),
        ("overall_consistency", 1),
    ],
)
def test_clips_that_are_too_short_or_too_small(
    measures: dict[str, Measure], frames: Frames, name: str, fewest: int
) -> None:
    measure = measures[name]
    assert measure(frames[:fewest], 8, "a prompt")
    if fewest > 1:
        has = "1 frame;" if fewest == 2 else "2 frames;"
        with pytest.raises(ByTheWayError, match=rf"^The clip has {has} .* requires {fewest}, so give a longer one\.$"):
            measure(frames[: fewest - 1], 8, "a prompt")
    with pytest.raises(ByTheWayError, match=r"^The frames have 1x1 pixels; .* requires 16 on each side"):
        measure(frames[:, :1, :1], 8, "a prompt")


def test_two_frames_for_every_second_have_no_flow_left(place: Placement, frames: Frames) -> None:
    measure = FlowMeasures(ShiftFlow(place, 5.0))
    with pytest.raises(ByTheWayError, match="1 frame; optical flow between frames that are 3 apart requires 2"):
        measure(frames[:3], 24)


def test_a_clip_of_which_one_frame_is_taken_is_still_by_vbenchs_rule(place: Placement, frames: Frames) -> None:
    """The lengths have no value there, and say so."""
    (found,) = FlowMeasures(ShiftFlow(place, 5.0), ["dynamic_degree"])(frames[:8], 64)
    assert (found.name, found.value, found.vbench, found.values) == ("dynamic_degree", False, True, ())
    assert found.facts["interval"] == 8
    assert "By VBench's rule a clip of one taken frame never counts as moving" in found.remarks[-1]
    with pytest.raises(PartlyMeasuredError, match="1 frame; optical flow between frames that are 8 apart") as caught:
        FlowMeasures(ShiftFlow(place, 5.0), ["flow_mean", "dynamic_degree"])(frames[:8], 64)
    assert [(one.name, one.value) for one in caught.value.found] == [("dynamic_degree", False)]
    with pytest.raises(PartlyMeasuredError) as caught:
        FlowMeasures(ShiftFlow(place, 5.0), ["flow_mean"])(frames[:8], 64)
    assert caught.value.found == ()


@pytest.mark.parametrize(("count", "left_out"), [(7, []), (8, ["Frame 7, the last, was not compared, for none comes"])])
def test_smoothness_says_which_frame_is_left_out(
    place: Placement, frames: Frames, count: int, left_out: list[str]
) -> None:
    measure = MotionSmoothness(BroughtNetwork(Brought(mean_of_two, "AMT-S"), place))
    (found,) = measure(frames[:count], 8)
    said = [remark for remark in found.remarks if "left" in remark or "not compared" in remark]
    assert [remark[: len(start)] for remark, start in zip(said, left_out, strict=True)] == left_out
    assert (count - 1 in found.at) is False


@needs_goldens
def test_consistency_and_beauty_say_what_was_done_to_the_clip(measures: dict[str, Measure]) -> None:
    clip = np.zeros((2, 112, 179, 3), np.uint8)
    for name in ("subject_consistency", "background_consistency", "aesthetic_quality"):
        (found,) = measures[name](clip, 8)
        assert found.remarks[0] == "The frames of 179x112 pixels were enlarged to 358x224.", name
        assert len(found.remarks) == 2


def test_lengths_of_flow_and_whether_it_moves(place: Placement, frames: Frames) -> None:
    """48x64 pixels: the threshold is 6 * 48 / 256 = 1.125 px."""
    found = {one.name: one for one in FlowMeasures(ShiftFlow(place, 1.2))(frames, 8)}
    assert found["dynamic_degree"].value is True
    assert found["dynamic_degree"].facts == {"interval": 1, "threshold": 1.125, "pairs_required": 4}
    assert found["dynamic_degree"].unit == ""
    for name in ("flow_mean", "flow_top5"):
        assert found[name].value == pytest.approx(1.2)
        assert found[f"{name}_scaled"].value == pytest.approx(1.2 * 256 / 48)
        assert (found[name].unit, found[f"{name}_scaled"].unit) == ("px", "px at 256")
        assert not found[name].vbench
    still = {one.name: one for one in FlowMeasures(ShiftFlow(place, 1.125))(frames, 8)}
    assert still["dynamic_degree"].value is False
    fast = FlowMeasures(ShiftFlow(place, 1.2), ["flow_mean"])(frames, 24)
    assert fast[0].at == (3, 6, 9, 12, 15)
    assert fast[0].remarks[1] == "The flow is between frames that are 3 apart, of which about 8 are shown a second."


def test_large_frames_are_taken_in_smaller_chunks(place: Placement) -> None:
    assert place.pairs_at_once(64, 64) == 5
    assert place.pairs_at_once(512, 512) == 4
    assert place.pairs_at_once(1080, 1920) == 1
    flow = ShiftFlow(place, 1.0)
    FlowMeasures(flow)(np.zeros((4, 720, 1280, 3), dtype=np.uint8), 8)
    assert flow.batches == [1, 1, 1]


def test_frames_are_converted_a_few_at_a_time(place: Placement) -> None:
    seen = []

    def note(frames: Tensor) -> Tensor:
        seen.append(tuple(frames.shape))
        return frames.flatten(1)[:, 0]

    frames = np.zeros((12, 16, 32, 3), dtype=np.uint8)
    FrameScores("first", BroughtNetwork(Brought(note), place))(frames, 8)
    assert seen == [(5, 3, 16, 32), (5, 3, 16, 32), (2, 3, 16, 32)]


@pytest.mark.parametrize(
    ("measure", "backbones", "name", "vbench"),
    [
        ("dynamic_degree", ["RAFT-large"], "dynamic_degree", True),
        ("dynamic_degree", ["RIFE 4"], "dynamic_degree_rife_4", False),
        ("flow_mean", ["RAFT-large"], "flow_mean", False),
        ("motion_smoothness", ["AMT-S"], "motion_smoothness", True),
        ("motion_smoothness", ["my.Interpolator"], "motion_smoothness_my_interpolator", False),
        ("aesthetic_quality", ["CLIP ViT-L/14", "LAION aesthetic head"], "aesthetic_quality", True),
        ("aesthetic_quality", ["other", "LAION aesthetic head"], "aesthetic_quality_other", False),
        ("temporal_flickering", [], "temporal_flickering", True),
        ("my_own", ["anything"], "my_own", False),
    ],
)
def test_what_is_not_vbenchs_is_not_called_so(measure: str, backbones: list[str], name: str, vbench: bool) -> None:
    assert named(measure, [Backbone(one, "somewhere", None) for one in backbones]) == (name, vbench)


def test_names_of_measures_need_no_torch() -> None:
    code = (
        "import sys, bytheway.evaluation.measures, bytheway.evaluation.measures.measure as m\n"
        "assert 'flow_mean' in m.KINDS\n"
        "import bytheway.evaluation.measures.vbench\n"
        "print({'torch', 'transformers', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@needs_goldens
def test_half_precision_is_near_and_told(dino_folder: object, frames: Frames) -> None:
    values = {}
    for dtype in (torch.float32, torch.bfloat16):
        network = Dino(Placement(torch.device("cpu"), dtype), dino_folder, offline=True)  # type: ignore[arg-type]
        (found,) = SubjectConsistency(network)(frames, 8)
        assert found.backbones[0].precision == str(dtype).removeprefix("torch.")
        values[dtype] = found.value
    assert values[torch.bfloat16] != values[torch.float32]
    assert values[torch.bfloat16] == pytest.approx(values[torch.float32], abs=0.02)
