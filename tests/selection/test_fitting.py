"""Predictors that are fitted: what they find, and that their skill is of clips they were not fitted on."""

import sys
from typing import Any

import numpy as np
import pytest

from bytheway.errors import ByTheWayError
from bytheway.selection.fitting import cross_validated, fit_predictor, skill_of

N = 40
RNG = np.random.default_rng(0)
SIGNAL, NOISE = RNG.normal(size=N), RNG.normal(size=(N, 6))
FEATURES = [
    {"a": float(SIGNAL[index]), **{f"n{number}": float(NOISE[index, number]) for number in range(6)}}
    for index in range(N)
]
PROMPTS = [f"prompt {index // 2}" for index in range(N)]


def test_a_number_is_predicted_and_its_skill_told() -> None:
    values = 3 * SIGNAL + 1 + 0.3 * RNG.normal(size=N)
    values[3] = np.nan
    predictor = fit_predictor(FEATURES, "mean flow", "number", values, PROMPTS)
    assert predictor is not None
    assert predictor.features[0] == "a"
    assert predictor.coefficients[0] > 5 * max(map(abs, predictor.coefficients[1:]))
    assert predictor({**FEATURES[0], "a": 2.0}) == pytest.approx(7, abs=1)
    assert predictor.skill.name == "Spearman's rho"
    assert 0.9 < predictor.skill.low <= predictor.skill.value <= predictor.skill.high <= 1


def test_a_chance_is_one() -> None:
    values = (SIGNAL + 0.3 * RNG.normal(size=N) > 0).astype(float)
    predictor = fit_predictor(FEATURES, "still", "chance", values, PROMPTS)
    assert predictor is not None
    low, high = (predictor({**FEATURES[0], "a": value}) for value in (-2.0, 2.0))
    assert 0 < low < 0.3 < 0.7 < high < 1
    assert predictor.skill.name == "AUC"
    assert 0.5 < predictor.skill.low <= predictor.skill.value <= 1


@pytest.mark.parametrize("kind", ["number", "chance"])
def test_chance_is_not_taken_for_skill(kind: Any) -> None:
    """As many features as this fit any values they were fitted on."""
    values = np.random.default_rng(1).normal(size=N)
    values = (values > 0).astype(float) if kind == "chance" else values
    predictor = fit_predictor(FEATURES, "nothing", kind, values, PROMPTS)
    assert predictor is not None
    nothing = 0.5 if kind == "chance" else 0.0
    assert predictor.skill.low < nothing + 0.15
    assert predictor.skill.value < nothing + 0.25


def test_clips_of_a_prompt_stay_together() -> None:
    """What a prompt alone decides cannot be told from the features of another clip of it."""
    by_prompt = np.random.default_rng(2).normal(size=N // 2).repeat(2)
    table = np.eye(N // 2).repeat(2, 0)
    predicted = cross_validated(table, by_prompt, "number", PROMPTS)
    assert abs(skill_of(predicted, by_prompt, "number").value) < 0.8
    together = cross_validated(table, by_prompt, "number", list(range(N)))
    assert skill_of(together, by_prompt, "number").value > 0.8
    features = [{f"of {number}": float(value) for number, value in enumerate(row)} for row in table]
    predictor = fit_predictor(features, "taste", "number", by_prompt, PROMPTS)
    assert predictor is not None
    assert predictor.skill.value < 0.5


@pytest.mark.parametrize(
    ("clips", "kind", "values"),
    [
        (20, "number", SIGNAL[:20]),
        (N, "number", np.ones(N)),
        (N, "number", np.full(N, np.nan)),
        (N, "chance", np.r_[np.ones(4), np.zeros(N - 4)]),
    ],
)
def test_too_little_to_fit(clips: int, kind: Any, values: Any) -> None:
    assert fit_predictor(FEATURES[:clips], "x", kind, values, PROMPTS[:clips]) is None


def test_clips_of_one_prompt_are_not_enough() -> None:
    assert fit_predictor(FEATURES, "x", "number", SIGNAL, ["a"] * N) is None


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    monkeypatch.delitem(sys.modules, "bytheway.selection.fitting")
    with pytest.raises(ByTheWayError, match=r"^Fitting a model needs scikit-learn; install it \(pip install scikit-l"):
        __import__("bytheway.selection.fitting")
