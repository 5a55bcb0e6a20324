"""What measures say of two sets of paired clips: paired differences, with their intervals over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.measure import Measurement
from bytheway.evaluation.scores import ClipScores, example_of, json_ready, names_of, summary_of, values_of
from bytheway.evaluation.statistics import FEWEST_PROMPTS, Estimate, Outcomes, mean, means_of_groups, outcomes


@dataclass(frozen=True)
class Contrast:
    """One measure of two sets of clips.

    Attributes:
        example: one of the measurements, for what all share: name, unit, direction, backbones.
        first, second: means of both sets, over the pairs.
        difference: second less first, paired, with its interval over prompts.
        outcomes: wins are pairs of which the second clip is better, or has more where neither is meant to be better.
        p_value: of the exact two-sided sign test over prompts, by the mean difference of the pairs of each: pairs of
            one prompt are not independent. With one pair a prompt it is that of `outcomes`.
        differences: of each pair, (pairs,); NaN where one of its clips could not be measured.
    """

    example: Measurement
    first: Estimate
    second: Estimate
    difference: Estimate
    outcomes: Outcomes
    p_value: float
    differences: np.ndarray

    @property
    def ahead(self) -> Literal["first", "second"] | None:
        """Which has the higher values, or the lower ones where these are better; None where chance may be all there is.

        That is where the interval of the difference holds zero, and always from fewer than `FEWEST_PROMPTS` prompts.
        """
        if not self.difference.differs or self.difference.n < FEWEST_PROMPTS:
            return None
        return "second" if (self.difference.value > 0) == (self.example.direction != "lower") else "first"


@dataclass(frozen=True)
class Comparison:
    """Two sets of clips, the first of which is the baseline.

    Attributes:
        names: what both are called.
        pairs: their scores, one of each.
        contrasts: the measures that both have.
        left_out: clips and pairs that are not compared, each with the reason, in sentences.
    """

    names: tuple[str, str]
    pairs: tuple[tuple[ClipScores, ClipScores], ...]
    contrasts: tuple[Contrast, ...]
    left_out: tuple[str, ...]

    @property
    def prompts(self) -> int:
        """How many different prompts there are."""
        return len({first.clip.prompt for first, _ in self.pairs})

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: the figures of each measure, and the differences of each pair."""
        first, second = self.names
        return {
            "first": first,
            "second": second,
            "prompts": self.prompts,
            "measures": {
                one.example.name: {
                    "unit": one.example.unit,
                    "direction": one.example.direction,
                    "vbench": one.example.vbench,
                    "backbones": [asdict(backbone) for backbone in one.example.backbones],
                    "first": json_ready(asdict(one.first)),
                    "second": json_ready(asdict(one.second)),
                    "difference": json_ready(asdict(one.difference)),
                    "outcomes": {**asdict(one.outcomes), "p_value": one.p_value},
                    "ahead": one.ahead,
                }
                for one in self.contrasts
            },
            "pairs": [
                {
                    "prompt": first.clip.prompt,
                    "first": str(first.clip.path),
                    "second": str(second.clip.path),
                    "differences": json_ready(
                        {one.example.name: float(one.differences[index]) for one in self.contrasts}
                    ),
                }
                for index, (first, second) in enumerate(self.pairs)
            ],
            "left_out": list(self.left_out),
        }


def compare(
    names: tuple[str, str], pairs: Sequence[tuple[ClipScores, ClipScores]], left_out: Sequence[str] = ()
) -> Comparison:
    """Compare the scores of pairs of clips, measure by measure.

    Args:
        names: what both sets are called; the first is the baseline.
        pairs: scores of the clips that belong together. Those of other lengths, sizes or rates are left out.
        left_out: sentences on clips that are left out already.

    Raises:
        ByTheWayError: no pair can be compared.
    """
    reasons = [why_not_compared(*both) for both in pairs]
    kept = tuple(both for both, reason in zip(pairs, reasons, strict=True) if reason is None)
    said = (*left_out, *(reason for reason in reasons if reason is not None))
    if not kept:
        raise ByTheWayError(f"No pair of clips can be compared: {said[0] if said else 'there is none.'}")
    sets = [first for first, _ in kept], [second for _, second in kept]
    shared = [name for name in names_of(sets[0]) if example_of(sets[0], name) and example_of(sets[1], name)]
    return Comparison(names, kept, tuple(_contrast(*sets, name) for name in shared), said)


def _contrast(first: Sequence[ClipScores], second: Sequence[ClipScores], name: str) -> Contrast:
    example = example_of(first, name)
    assert example is not None
    differences = values_of(second, name) - values_of(first, name)
    present = ~np.isnan(differences)
    both = [[one for one, there in zip(side, present, strict=True) if there] for side in (first, second)]
    better = -differences if example.direction == "lower" else differences
    prompts = [one.clip.prompt for one in first]
    return Contrast(
        example,
        summary_of(both[0], name),
        summary_of(both[1], name),
        mean(differences, prompts),
        outcomes(better),
        outcomes(means_of_groups(better, prompts)).p_value,
        differences,
    )


def why_not_compared(first: ClipScores, second: ClipScores) -> str | None:
    """Why two clips cannot be set side by side, as a sentence; None where they can."""
    both = f"{first.clip.path} and {second.clip.path}"
    if first.num_frames != second.num_frames:
        return f"{both} have {first.num_frames} and {second.num_frames} frames."
    sizes = [f"{one.width}x{one.height}" for one in (first, second)]
    if sizes[0] != sizes[1]:
        return f"{both} have {sizes[0]} and {sizes[1]} pixels."
    if not np.isclose(first.fps, second.fps, rtol=0.05):
        return f"{both} have {first.fps:g} and {second.fps:g} frames a second."
    return None
