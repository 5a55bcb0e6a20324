"""Findings: each topic has one, with its numbers, its limit, its evidence and what to try."""

from typing import get_args

import pytest

from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.findings import DECIDED, UNDECIDED, Finding, Topic, diagnose
from bytheway.diagnosis.fit import Fit, Predictor, Skill
from bytheway.diagnosis.schedule import ActiveNoise
from tests.diagnosis.records import ANCHOR, SECOND, THIRD, curves, record_of

TOPICS = get_args(Topic)
NOISE = ActiveNoise(-6.0, -4.3)


def found(*clips: object, topic: str, noise: ActiveNoise | None = NOISE, **known: object) -> Finding:
    settings: dict[str, object] = {"least_beta": 1.5, "num_frames": 16, **known}
    findings = diagnose(clips, noise=noise, **settings)  # type: ignore[arg-type]
    assert [one.topic for one in findings] == list(TOPICS)
    for one in findings:
        assert one.sentence.endswith(".")
        assert one.evidence.endswith(".")
        assert one.found == (one.advice is not None)
    return next(one for one in findings if one.topic == topic)


def fit(clips: int = 40, **predictors: Predictor) -> Fit:
    usual = {f"last disparity of {block}": 1.0 for block in (SECOND, THIRD)}
    return Fit("tiny", "0", {}, clips, predictors, usual)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_clip_with_nothing_to_find(topic: str) -> None:
    assert not found(*[curves()] * 4, topic=topic).found


def test_an_anchor_sharper_than_what_it_guides() -> None:
    one = found(curves(anchor=0.76, energy=0.24), topic="anchor")
    assert one.found
    for said in ("0.760 in up_blocks.1", "0.240 in up_blocks.2, 0.240 in up_blocks.3", "3.2 times", "limit is 1.5"):
        assert said in one.sentence
    assert "5.55 px [5.10, 5.98]" in one.evidence
    assert not found(curves(anchor=0.24, energy=0.17), topic="anchor").found
    energy = {ANCHOR: [0.3] * 2, SECOND: [0.24] * 2, THIRD: [0.12] * 2}
    one = found(curves_of(record_of(energy, {SECOND: [1.0] * 2, THIRD: [1.0] * 2})), topic="anchor")
    assert one.found, "sharper than one of them is enough"
    assert "up to 2.5 times" in one.sentence


@pytest.mark.parametrize(("frames", "energy", "near"), [(16, 0.10, True), (16, 0.12, False), (8, 0.21, True)])
def test_low_energy_is_near_static_by_the_papers_line(frames: int, energy: float, near: bool) -> None:
    """0.11 of 16 frames; a flat map of 8 has twice the energy."""
    one = found(curves(energy=energy), topic="motion", num_frames=frames)
    assert one.found == near
    assert f"the limit is {1.76 / frames:.3f}" in one.sentence
    assert "Figure 2c" in one.evidence


def test_a_fit_tells_near_static_clips_better_than_the_line() -> None:
    skill = Skill("AUC", 0.9, 0.8, 0.95)
    by_energy = Predictor("no dynamic degree", "chance", (f"energy of {SECOND}",), (0.2,), (0.01,), (-1.0,), 0.0, skill)
    clips = [curves(energy=0.18), curves(energy=0.19), curves(energy=0.24)]
    one = found(*clips, topic="motion", fit=fit(near_static=by_energy))
    assert one.found
    assert one.sentence == "2 of 3 clips are likely near-static: of near-static clips 54% are expected."
    assert "40 clips: no dynamic degree, AUC 0.90 [0.80, 0.95], cross-validated" in one.evidence
    assert not found(*clips, topic="motion").found


def test_a_disparity_a_third_above_the_usual() -> None:
    usual, apart = curves(apart=(1.0, 1.2)), curves(apart=(1.0, 1.7))
    one = found(usual, usual, usual, apart, topic="structure")
    assert one.found
    assert one.sentence.startswith("1 of 4 clips is likely to fall apart: ")
    assert "1.00 to 1.42 times the median of these clips, the limit is 1.33" in one.sentence
    alone = found(apart, topic="structure")
    assert not alone.found
    assert "needs 4 clips or a fit" in alone.sentence
    assert found(apart, topic="structure", fit=fit()).found


def test_where_and_when_maps_part_from_the_anchor() -> None:
    one = found(curves(apart=(1.0, 1.5)), topic="parting")
    assert one.found
    assert "up_blocks.2, in step 2: disparity 1.00 in step 1, 1.50 in step 2; it grows by more than" in one.sentence


def test_beta_at_its_floor() -> None:
    one = found(curves(beta=1.5), topic="beta")
    assert one.found
    assert "in 100% of blocks and steps it is its least value 1.5 (the limit is 95%)" in one.sentence
    adapting = found(curves(beta=1.7), topic="beta")
    assert "in 100% of blocks and steps it is above its least value 1.5, in the mean 1.70" in adapting.sentence
    off = found(curves(beta=1.0), topic="beta", least_beta=None)
    assert not off.found
    assert "The method was off" in off.sentence


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (ActiveNoise(-18.2, -8.27), "over before layout is decided"),
        (ActiveNoise(-3.0, -1.0), "begins when most of the layout is decided"),
        (ActiveNoise(-18.2, -4.1), "acts while layout is decided"),
        (ActiveNoise(-6.0, -1.0), "acts while layout is decided"),
        (None, "does not tell the noise"),
    ],
)
def test_the_schedule(noise: ActiveNoise | None, said: str) -> None:
    """The first is that of the history in docs/evidence, the third that of diorama."""
    assert UNDECIDED < DECIDED
    one = found(curves(), topic="schedule", noise=noise)
    assert said in one.sentence
    assert one.found == (said.startswith(("over", "begins")))
