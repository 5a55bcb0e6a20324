"""What a search is to raise: measures of finished clips, each in the direction that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.measures.measure import KINDS, Measure
from bytheway.evaluation.scores import ClipScores

# Of each the first that this machine has the networks for.
_MOTION: Final = ("flow_mean", "-temporal_flickering")
_STRUCTURE: Final = ("subject_consistency", "background_consistency")
_PROMPT: Final = ("overall_consistency",)


@dataclass(frozen=True)
class Objective:
    """A measure that is to rise, or to fall.

    Attributes:
        text: as it is written: the name of a measure, with a minus before it where its values are to become worse, or
            less, than they are by its own direction. Less temporal_flickering is more change from frame to frame.
        name: of the measurement, which says where another network stands in for the one of its definition.
        sign: of the values, so that more is better.
    """

    text: str
    name: str
    sign: float

    @property
    def label(self) -> str:
        """What is raised, in words."""
        return self.name if self.sign > 0 else f"less {self.name}"

    def of(self, scores: ClipScores) -> float:
        """The value of a clip, signed so that more is better.

        Raises:
            ByTheWayError: it could not be measured.
        """
        if self.name not in scores.measurements:
            reason = scores.failed.get(self.name, f"{scores.clip.path} has no {self.name}.")
            raise ByTheWayError(f"{self.name} cannot be searched for: {reason}")
        return self.sign * float(scores.measurements[self.name].value)


def objectives_of(texts: Sequence[str], measures: Sequence[Measure]) -> tuple[Objective, ...]:
    """The objectives that texts name, by the names that the measures at hand give.

    Raises:
        ByTheWayError: there are fewer than two, one is there twice, or no measure gives it.
    """
    wanted = [text.removeprefix("-") for text in texts]
    if len(wanted) < 2 or len(set(wanted)) < len(wanted):
        raise ByTheWayError(
            "A search weighs at least two different objectives against each other, such as flow_mean for motion and "
            "subject_consistency for structure.",
            setting="objectives",
        )
    given = [name for measure in measures for name in measure.names]
    return tuple(
        Objective(text, _name(measure, given), (-1.0 if text.startswith("-") else 1.0) * _direction(measure))
        for text, measure in zip(texts, wanted, strict=True)
    )


def usual_objectives(choice: MeasureChoice) -> tuple[str, ...]:
    """More motion, steadier structure and, where its network was brought, the prompt kept: what can be measured here.

    Nothing is fetched. Where there is no optical flow, motion is the change of the pixels.

    Raises:
        ByTheWayError: nothing that tells of structure can be measured; the sentence says why.
    """
    found: list[str] = []
    reason = ""
    for group in (_MOTION, _STRUCTURE, _PROMPT):
        for text in group:
            try:
                choice.load_named((text.removeprefix("-"),), offline=True)
            except ByTheWayError as error:
                reason = reason or str(error)
                continue
            found.append(text)
            break
        else:
            if group is _STRUCTURE:
                raise ByTheWayError(
                    "Nothing here tells of structure, and without it a search finds flicker; name objectives, whose "
                    f"networks are then fetched, or bring one. {reason}",
                    setting="objectives",
                )
    return tuple(found)


def _name(measure: str, given: Sequence[str]) -> str:
    """The measurement of a measure, whose name says more where another network stands in."""
    more = [name for name in given if name.startswith(f"{measure}_") and name not in KINDS]
    found = measure if measure in given else min(more, key=len, default=None)
    if found is None:
        raise ByTheWayError(f"No measure gives {measure}; those at hand give {', '.join(given)}.", setting="objectives")
    return found


def _direction(measure: str) -> float:
    kind = KINDS.get(measure)
    return -1.0 if kind is not None and kind.direction == "lower" else 1.0
