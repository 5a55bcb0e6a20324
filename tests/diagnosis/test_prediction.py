"""What a clip is going to be: the plain rule, and a fit."""

import json
import math
from typing import Any

import pytest

from bytheway.diagnosis.fit import Fit, Predictor, Skill
from bytheway.diagnosis.prediction import features_of, odds, predict, said_of
from bytheway.errors import ByTheWayError
from tests.diagnosis.records import SECOND, curves

SKILL = Skill("Spearman's rho", 0.8, 0.7, 0.9)
FIT = Fit(
    "tiny",
    "abc",
    {"steps": 4},
    30,
    {
        "motion": Predictor("mean flow", "number", (f"energy of {SECOND}",), (0.1,), (0.05,), (2.0,), 1.0, SKILL),
        "near_static": Predictor("still", "chance", (f"energy of {SECOND}",), (0.1,), (0.05,), (-1.0,), 0.0, SKILL),
    },
    {f"energy of {SECOND}": 0.1},
)


def test_more_energy_is_more_motion_and_more_disparity_less_structure() -> None:
    calm, lively = predict(curves(energy=0.1), None), predict(curves(energy=0.2, apart=(1.0, 2.0)), None)
    assert calm.motion == pytest.approx(0.1)
    assert lively.motion == pytest.approx(0.2)
    assert (calm.structure, lively.structure) == (pytest.approx(-0.825), pytest.approx(-1.5))
    assert calm.near_static is None
    assert said_of(calm) is None


def test_a_fit_tells_what_it_was_fitted_on_and_the_rule_the_rest() -> None:
    told = predict(curves(energy=0.2), FIT)
    assert told.motion == pytest.approx(1 + 2 * (0.2 - 0.1) / 0.05)
    assert told.near_static == pytest.approx(1 / (1 + math.exp(2)))
    assert (told.motion_by, told.structure) == ("mean flow", predict(curves(), None).structure)
    assert said_of(told) == "likely to move, 7.4 to 1"
    assert said_of(predict(curves(energy=0.0), FIT)) == "likely near-static, 7.4 to 1"


@pytest.mark.parametrize(("chance", "said"), [(0.5, "1 to 1"), (0.8, "4 to 1"), (0.25, "3 to 1"), (1.0, "99 to 1")])
def test_odds(chance: float, said: str) -> None:
    assert odds(chance) == said


def test_a_chance_is_one_however_far_the_line_goes() -> None:
    predictor = Predictor("still", "chance", ("a",), (0.0,), (1e-9,), (1.0,), 0.0, SKILL)
    assert predictor({"a": 1e9}) == pytest.approx(1)
    assert predictor({"a": -1e9}) == pytest.approx(0)


def test_features_have_the_blocks_in_their_names() -> None:
    assert list(features_of(curves())) == [
        "energy of up_blocks.1",
        "energy of up_blocks.2",
        "energy of up_blocks.3",
        "disparity of up_blocks.2",
        "last disparity of up_blocks.2",
        "disparity of up_blocks.3",
        "last disparity of up_blocks.3",
    ]


def test_a_fit_of_other_blocks() -> None:
    predictor = Predictor("still", "number", ("energy of mid_block",), (0.0,), (1.0,), (1.0,), 0.0, SKILL)
    with pytest.raises(ByTheWayError, match="needs the energy of mid_block, which was not recorded; it is of another"):
        predict(curves(), Fit("tiny", "abc", {}, 30, {"motion": predictor}, {}))


def test_there_and_back() -> None:
    assert Fit.from_dict(json.loads(json.dumps(FIT.to_dict()))) == FIT


@pytest.mark.parametrize(
    "change",
    [
        {"clips": True},
        {"clips": -1},
        {"model": 3},
        {"usual": {"a": "b"}},
        {"usual": {"a": float("nan")}},
        {"conditions": 3},
        {"predictors": [1]},
        {"predictors": {"taste": FIT.to_dict()["predictors"]["motion"]}},
        *(
            {"predictors": {"motion": FIT.to_dict()["predictors"]["motion"] | broken}}
            for broken in (
                {"scales": [0.0]},
                {"scales": [-1.0]},
                {"means": []},
                {"coefficients": [1.0, 2.0]},
                {"coefficients": ["__import__('os')"]},
                {"kind": "pickle"},
                {"intercept": 1e999},
                {"skill": {"name": "rho"}},
                {"features": "e"},
                {"features": None},
            )
        ),
    ],
)
def test_content_of_anybodys(change: dict[str, Any]) -> None:
    stored = FIT.to_dict() | change
    with pytest.raises(ByTheWayError, match="The fit is damaged or none of bytheway's; fit the model anew"):
        Fit.from_dict(stored)


def test_another_version() -> None:
    with pytest.raises(ByTheWayError, match="written by another version of bytheway"):
        Fit.from_dict(FIT.to_dict() | {"format": 2})
