"""Dynamic degree, whether a clip moves (VBench), and how much it moves: lengths of the same optical flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from bytheway.clips.frames import Frames
from bytheway.evaluation.measures.backbones.backbone import Flow
from bytheway.evaluation.measures.checks import check_clip, too_short
from bytheway.evaluation.measures.measure import KINDS, Measurement, PartlyMeasuredError, named

FLOW_MEASURES: Final = ("dynamic_degree", "flow_mean", "flow_top5", "flow_mean_scaled", "flow_top5_scaled")
_RATE: Final = 8
"""Frames a second between which flow is taken, about."""


def interval_of(fps: float) -> int:
    """Every which frame is taken, for about 8 a second; halves are rounded to the even number."""
    return max(1, round(fps / _RATE))


def threshold_of(height: int, width: int) -> float:
    """The flow, in pixels, that a pair of frames has to exceed to count as moving."""
    return 6.0 * min(height, width) / 256


def pairs_required(count: int) -> int:
    """How many pairs have to count, of a clip of so many taken frames; halves are rounded to the even number."""
    return round(4 * count / 16)


def moves(scores: Sequence[float], threshold: float, required: int) -> bool:
    """Whether a clip moves, looked at after each pair: so one of two frames, which requires 0, always does."""
    exceeding = 0
    for score in scores:
        exceeding += score > threshold
        if exceeding >= required:
            return True
    return False


def flow_lengths(flow: Tensor) -> Tensor:
    """Lengths (n, pixels) of flows (n, 2, height, width), in pixels."""
    return flow.float().square().sum(1).sqrt().flatten(1)


def top5_mean(lengths: Tensor) -> Tensor:
    """The mean of the largest 5 % of lengths (n, pixels), their number rounded down: (n,)."""
    return lengths.topk(int(lengths.shape[-1] * 0.05)).values.mean(-1)


class FlowMeasures:
    """Dynamic degree and the lengths beside it, out of one flow.

    Args:
        flow: the network.
        names: which of `FLOW_MEASURES` are given.
    """

    def __init__(self, flow: Flow, names: Sequence[str] = FLOW_MEASURES) -> None:
        self._flow = flow
        self.names = tuple(named(name, (flow.backbone,))[0] for name in names)
        self._measures = tuple(names)

    def __call__(self, frames: Frames, fps: float, prompt: str | None = None) -> tuple[Measurement, ...]:
        check_clip(frames, "optical flow", fewest=2)
        interval = interval_of(fps)
        taken = frames[::interval]
        if len(taken) == 1:
            return self._of_one(taken, interval)
        height, width = taken.shape[1:3]
        mean, top5 = self._lengths(taken)
        scale = min(height, width) / 256
        series = {
            "dynamic_degree": top5,
            "flow_mean": mean,
            "flow_top5": top5,
            "flow_mean_scaled": [one / scale for one in mean],
            "flow_top5_scaled": [one / scale for one in top5],
        }
        threshold, required = threshold_of(height, width), pairs_required(len(taken))
        values: dict[str, float | bool] = {name: sum(one) / len(one) for name, one in series.items()}
        values["dynamic_degree"] = moves(top5, threshold, required)
        facts = {"interval": interval, "threshold": threshold, "pairs_required": required}
        remarks = self._remarks(interval, len(taken), height, width)
        enlarged = self._flow.enlargement(height, width) > 1
        found = []
        for measure in self._measures:
            name, vbench = named(measure, (self._flow.backbone,))
            found.append(
                Measurement(
                    name,
                    value=values[measure],
                    values=tuple(series[measure]),
                    at=tuple(range(interval, len(frames), interval)),
                    over="pair",
                    unit=KINDS[measure].unit,
                    direction=KINDS[measure].direction,
                    vbench=vbench and not enlarged,
                    backbones=(self._flow.backbone,),
                    facts=facts if measure == "dynamic_degree" else {"interval": interval},
                    remarks=remarks,
                )
            )
        return tuple(found)

    def _of_one(self, taken: Frames, interval: int) -> tuple[Measurement, ...]:
        """What is said of a clip so short that a single frame of it is taken: by VBench's rule, that it is still."""
        name, vbench = named("dynamic_degree", (self._flow.backbone,))
        height, width = taken.shape[1:3]
        facts = {"interval": interval, "threshold": threshold_of(height, width), "pairs_required": pairs_required(1)}
        remarks = (
            *self._remarks(interval, 1, height, width),
            "By VBench's rule a clip of one taken frame never counts as moving; no flow was looked at.",
        )
        still = Measurement(
            name, False, (), (), "pair", "", "higher", vbench, (self._flow.backbone,), facts=facts, remarks=remarks
        )
        if self._measures == ("dynamic_degree",):
            return (still,)
        sentence = too_short(1, f"optical flow between {_every(interval)}", fewest=2)
        raise PartlyMeasuredError(sentence, (still,) if "dynamic_degree" in self._measures else ())

    def _lengths(self, taken: Frames) -> tuple[list[float], list[float]]:
        """Of each pair of neighbours the mean length of the flow, and that of its fastest 5 %."""
        place = self._flow.placement
        step = place.pairs_at_once(*taken.shape[1:3])
        firsts, seconds = (place.chunks(some, step) for some in (taken[:-1], taken[1:]))
        mean: list[float] = []
        top5: list[float] = []
        for first, second in zip(firsts, seconds, strict=True):
            with place.computing():
                lengths = flow_lengths(self._flow(first, second))
            mean += lengths.mean(-1).tolist()
            top5 += top5_mean(lengths).tolist()
        return mean, top5

    def _remarks(self, interval: int, count: int, height: int, width: int) -> tuple[str, ...]:
        remarks = [f"The flow is that of {self._flow.backbone.name}.", *self._flow.remarks]
        if interval > 1:
            remarks.append(f"The flow is between {_every(interval)}, of which about {_RATE} are shown a second.")
        factor = self._flow.enlargement(height, width)
        if factor > 1:
            remarks.append(
                f"The frames of {width}x{height} pixels were enlarged {factor} times for the network; lengths are in "
                "pixels of the clip."
            )
        if count == 2:
            remarks.append("By VBench's rule every clip of two taken frames counts as moving.")
        return tuple(remarks)


def _every(interval: int) -> str:
    return "all frames" if interval == 1 else f"frames that are {interval} apart"
