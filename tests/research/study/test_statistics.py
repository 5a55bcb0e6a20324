"""Estimates against figures worked out by other means."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from bytheway.evaluation.statistics import NOTHING
from research.study.statistics import Frechet, crossing

RNG = np.random.default_rng(1)


def test_frechet_distance_is_the_closed_form() -> None:
    reference = RNG.normal(size=(200, 2, 5)) @ RNG.normal(size=(5, 5))
    features = RNG.normal(size=(200, 5)) + 0.5
    renders = reference.reshape(-1, 5)
    first, second = (np.cov(some, rowvar=False) for some in (renders, features))
    expected = np.square(renders.mean(0) - features.mean(0)).sum()
    expected += np.trace(first + second - 2 * sqrtm(first @ second).real)
    frechet = Frechet(reference)
    assert frechet.distance(features) == pytest.approx(expected)
    assert Frechet(features[:, None]).distance(features) == pytest.approx(0, abs=1e-9)
    found = frechet.difference(features + 1, features)
    assert found.value == pytest.approx(frechet.distance(features + 1) - frechet.distance(features), rel=0.05)
    assert found.value == pytest.approx(frechet.estimate(features + 1).value - frechet.estimate(features).value)
    assert found.differs


def test_prompts_that_clips_and_renders_share_are_no_part_of_the_frechet_distance() -> None:
    prompts = RNG.normal(size=(150, 20)) * np.geomspace(10, 0.1, 20)
    frechet = Frechet(prompts[:, None] + RNG.normal(size=(150, 4, 20)))
    true = prompts + RNG.normal(size=(150, 20))
    found = frechet.estimate(true)
    assert abs(found.value) < 0.5 * frechet.distance(true), "renders themselves are at no distance"
    assert found.low < found.value < found.high
    assert frechet.estimate(true + 1).value == pytest.approx(20, rel=0.1), "20 features, each off by one"


def test_frechet_distance_of_fewer_clips_than_features() -> None:
    frechet = Frechet(RNG.normal(size=(6, 4, 12)))
    assert frechet.distance(RNG.normal(size=(6, 12))) > 0
    assert Frechet(RNG.normal(size=(1, 4, 12))).estimate(RNG.normal(size=(1, 12))) == NOTHING


def test_the_crossing_of_a_level_is_interpolated() -> None:
    curves = np.tile([0.0, 0.0, 0.25, 0.75, 1.0], (10, 1))
    assert crossing(curves, 0.5).value == pytest.approx(2.5)
    assert crossing(curves, 0.5).low == crossing(curves, 0.5).high == pytest.approx(2.5)
    assert crossing(np.ones((3, 4)), 0.5).value == 0
    assert crossing(np.zeros((3, 4)), 0.5).value == 3
