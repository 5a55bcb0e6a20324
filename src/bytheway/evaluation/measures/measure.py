"""What every measure gives and how it is called, and the measures by name. Importing this imports no torch.

From clips to numbers, where the frames of each clip are decoded once for all measures:

    measures = load_measures(["subject_consistency", "flow_mean"])       # bytheway.evaluation.measures.loading
    frames, fps = load_video("clip.mp4")                                  # bytheway.clips
    measurements = [one for measure in measures for one in measure(frames, fps)]

`load_measures` finds, fetches and places the backbones, and raises for what is missing before any clip is read. A
measure may be called for any number of clips; it keeps nothing of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError

Direction: TypeAlias = Literal["higher", "lower"]
"""Which values are better, or mean more of what the measure is named for."""


@dataclass(frozen=True)
class Backbone:
    """A network, or a part of one, that a number comes from.

    Attributes:
        name: such as "DINO ViT-B/16".
        source: the hub id, folder, file, package or Python name that it was loaded from.
        sha256: of the bytes of its weights, in hexadecimal; None for a callable, whose weights nobody knows.
        precision: what it computed in: "float32", "float16" or "bfloat16".
    """

    name: str
    source: str
    sha256: str | None
    precision: str = "float32"


@dataclass(frozen=True)
class Measurement:
    """What one measure says of one clip. `dataclasses.asdict` makes it ready for JSON.

    Attributes:
        name: of the measure. Where another backbone was used than the measure's definition asks for, the backbone is
            in the name ("motion_smoothness_rife_4", "dynamic_degree_rife_4"), so that numbers that do not compare
            have different names.
        value: the clip's. A bool for dynamic degree, a number in `unit` otherwise.
        values: what `value` is made of, one for each frame or pair of frames, in the same unit.
        at: the frame that each of `values` belongs to, counted from 0 in the clip; of a pair, the later one.
        over: whether `values` are of frames or of pairs.
        unit: of value and values; "" for shares and scores without one.
        direction: which values are better or more; None where neither is meant.
        vbench: whether this is a dimension of VBench, computed by its definition and with its backbones, so that it may
            be set beside VBench's numbers; `value` is then what VBench writes as "video_results". (Its authors'
            implementation runs CLIP in half precision on GPUs.)
        backbones: what the number comes from; empty for arithmetic on pixels.
        details: further series as long as `values`, by name, such as the cosines to the frame before.
        facts: further single numbers, by name, such as the threshold of dynamic degree.
        remarks: what was done to the clip before it was measured (enlarged, cut, frames left out), and what else one
            should know of the number, each in a sentence.
    """

    name: str
    value: float | bool
    values: tuple[float, ...]
    at: tuple[int, ...]
    over: Literal["frame", "pair"]
    unit: str
    direction: Direction | None
    vbench: bool
    backbones: tuple[Backbone, ...] = ()
    details: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class PartlyMeasuredError(ByTheWayError):
    """Some of the measurements of a measure cannot be made, said in a sentence.

    Attributes:
        found: those that can.
    """

    def __init__(self, sentence: str, found: tuple[Measurement, ...]) -> None:
        super().__init__(sentence)
        self.found = found


class Measure(Protocol):
    """A measure, or several that come out of the same computation, with its backbones in memory."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the measurements that a call gives, in order."""

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        """Measure a clip.

        Args:
            frames: uint8, (frames, height, width, 3), RGB.
            fps: frames a second.
            prompt: what the clip was made from; only measures of `KINDS` with `asks_for_prompt` look at it.

        Raises:
            ByTheWayError: the clip has too few frames or pixels, or there is no prompt where one is asked for. A
                `PartlyMeasuredError` where that is so of some of the measurements alone.
        """


@dataclass(frozen=True)
class Kind:
    """A measure that can be asked for by name.

    Attributes:
        name: for `load_measures`.
        about: what it measures, in a sentence.
        unit: as in `Measurement`.
        direction: as in `Measurement`.
        backbones: what its definition asks for, by name; see `load_measures` on where they are found.
        vbench: whether it is a dimension of VBench.
        brought: whether the backbone is one that the user has to bring.
        asks_for_prompt: whether a call has to be given the prompt.
    """

    name: str
    about: str
    unit: str = ""
    direction: Direction | None = "higher"
    backbones: tuple[str, ...] = ()
    vbench: bool = True
    brought: bool = False
    asks_for_prompt: bool = False


_FLOW: Final = ("RAFT-large",)

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "subject_consistency",
            "How alike each frame is to the one before and to the first, by DINO's features: 0 to 1.",
            backbones=("DINO ViT-B/16",),
        ),
        Kind(
            "background_consistency",
            "How alike each frame is to the one before and to the first, by CLIP's features: 0 to 1.",
            backbones=("CLIP ViT-B/32",),
        ),
        Kind(
            "aesthetic_quality",
            "How beautiful people would find the frames, by LAION's predictor: its score out of 10, divided by 10.",
            backbones=("CLIP ViT-L/14", "LAION aesthetic head"),
        ),
        Kind(
            "motion_smoothness",
            "How well every other frame is foreseen by an interpolator from its neighbours: 0 to 1.",
            backbones=("AMT-S",),
        ),
        Kind(
            "temporal_flickering",
            "How little pixels change from frame to frame: 0 to 1. Motion lowers it as flicker does.",
        ),
        Kind("dynamic_degree", "Whether a clip moves, by the flow of its fastest pixels.", backbones=_FLOW),
        Kind(
            "flow_mean",
            "Mean length of the optical flow from frame to frame, of all pixels, at about 8 frames a second.",
            unit="px",
            backbones=_FLOW,
            vbench=False,
        ),
        Kind(
            "flow_top5",
            "Mean length of the optical flow from frame to frame, of the fastest 5 % of the pixels, at about 8 frames "
            "a second.",
            unit="px",
            backbones=_FLOW,
            vbench=False,
        ),
        Kind(
            "flow_mean_scaled",
            "flow_mean divided by the shorter side over 256: what it would be at 256 pixels.",
            unit="px at 256",
            backbones=_FLOW,
            vbench=False,
        ),
        Kind(
            "flow_top5_scaled",
            "flow_top5 divided by the shorter side over 256: what it would be at 256 pixels.",
            unit="px at 256",
            backbones=_FLOW,
            vbench=False,
        ),
        Kind(
            "imaging_quality",
            "How free of noise, blur and overexposure the frames are, by a network that the user brings: VBench has "
            "MUSIQ, 0 to 100.",
            backbones=("MUSIQ",),
            brought=True,
        ),
        Kind(
            "overall_consistency",
            "How well the clip fits its prompt, by a network that the user brings: VBench has ViCLIP, -1 to 1.",
            backbones=("ViCLIP",),
            brought=True,
            asks_for_prompt=True,
        ),
    )
}
"""The measures by name. `load_measures` also accepts any other name for which the user brings a network."""


def named(measure: str, backbones: Sequence[Backbone]) -> tuple[str, bool]:
    """The name of a measurement, and whether it is VBench's, by the backbones that it was made with.

    Args:
        measure: a name of `KINDS`, or any other.
        backbones: those that were used.
    """
    kind = KINDS.get(measure)
    if kind is None:
        return measure, False
    others = [one.name for one in backbones if one.name not in kind.backbones]
    if not others:
        return measure, kind.vbench
    return "_".join([measure, *(re.sub(r"[^a-z0-9]+", "_", other.lower()).strip("_") for other in others)]), False
