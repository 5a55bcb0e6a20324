"""What was fitted on recorded clips of a model: plain numbers, to and from JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from bytheway.errors import ByTheWayError

FORMAT: Final = 1
"""Of the files; another one is refused."""
Kind: TypeAlias = Literal["number", "chance"]
PREDICTED: Final = ("motion", "structure", "near_static")
"""What can be predicted: how much a clip moves, how well its structure holds, whether it hardly moves."""
FEWEST_CLIPS: Final = 24
"""From fewer nothing is fitted: with five folds not even five clips would be left out at a time."""
_MOST_FEATURES: Final = 1000


@dataclass(frozen=True)
class Skill:
    """How well a predictor does on clips that it was not fitted on.

    Attributes:
        name: "Spearman's rho" of a number, "AUC" of a chance.
        value, low, high: cross-validated, with its 95 % interval over prompts.
    """

    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Predictor:
    """A line through standardised features, for a chance within a logistic function.

    Attributes:
        measure: what it predicts of a finished clip, in words.
        kind: a number, or the chance of a yes.
        features: their names.
        means, scales: of each feature over the clips that were fitted on.
        coefficients: of the standardised features.
        intercept: what is added.
        skill: cross-validated.
    """

    measure: str
    kind: Kind
    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    skill: Skill

    def __call__(self, features: Mapping[str, float]) -> float:
        """The prediction for a clip.

        Raises:
            ByTheWayError: it lacks one of the features.
        """
        missing = [name for name in self.features if name not in features]
        if missing:
            raise ByTheWayError(f"The fit needs the {missing[0]}, which was not recorded; it is of another model.")
        line = self.intercept + sum(
            coefficient * (features[name] - mean) / scale
            for name, mean, scale, coefficient in zip(
                self.features, self.means, self.scales, self.coefficients, strict=True
            )
        )
        return line if self.kind == "number" else 1 / (1 + math.exp(-min(max(line, -700), 700)))


@dataclass(frozen=True)
class Fit:
    """Everything that was fitted on some clips of a model.

    Attributes:
        model: its name, as the user gave it.
        fingerprint: of its weights.
        conditions: the settings that all clips were made with, and others have to be made with.
        clips: how many there were.
        predictors: by what they predict, of `PREDICTED`.
        usual: the mean of each feature over the clips.
    """

    model: str
    fingerprint: str
    conditions: Mapping[str, Any]
    clips: int
    predictors: Mapping[str, Predictor]
    usual: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse, for content that may be anybody's.

        Raises:
            ByTheWayError: it is not what `to_dict` writes.
        """
        try:
            if stored["format"] != FORMAT:
                raise ByTheWayError("The fit was written by another version of bytheway; fit the model anew.")
            predictors = {name: _predictor(one) for name, one in stored["predictors"].items()}
            if not set(predictors) <= set(PREDICTED):
                raise ValueError
            return cls(
                _text(stored["model"]),
                _text(stored["fingerprint"]),
                dict(stored["conditions"]),
                _whole(stored["clips"]),
                predictors,
                {_text(name): _number(value) for name, value in stored["usual"].items()},
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ByTheWayError):
                raise
            raise ByTheWayError("The fit is damaged or none of bytheway's; fit the model anew.") from None


def _predictor(stored: Mapping[str, Any]) -> Predictor:
    features = tuple(map(_text, _list(stored["features"])))
    numbers = {name: tuple(map(_number, _list(stored[name]))) for name in ("means", "scales", "coefficients")}
    if len(features) > _MOST_FEATURES or {len(one) for one in numbers.values()} != {len(features)}:
        raise ValueError
    if min(numbers["scales"], default=1.0) <= 0 or stored["kind"] not in get_args(Kind):
        raise ValueError
    skill = stored["skill"]
    return Predictor(
        _text(stored["measure"]),
        stored["kind"],
        features,
        **numbers,
        intercept=_number(stored["intercept"]),
        skill=Skill(_text(skill["name"]), *(_number(skill[name]) for name in ("value", "low", "high"))),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def _list(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value
