"""Treatments and plans."""

from bytheway.families.known import presets
from research.study.plan import RECORDED_CLIPS, Extent, Part, Unit, plan
from research.study.variants import (
    BANDS,
    BOTH,
    EVERY_STEP,
    PAPER,
    VANILLA,
    WORLD,
    Axis,
    Swap,
    Variant,
    cells,
    paper_point,
    sweep,
)

MODELS = ("diorama", "diorama-early")


def test_keys_tell_treatments_apart_and_nothing_else() -> None:
    variants = {
        *cells("diorama").values(),
        *BANDS.values(),
        EVERY_STEP,
        *(v for axis in Axis for v in sweep(axis).values()),
    }
    assert len({variant.key for variant in variants}) == len(variants)
    assert Variant(PAPER.replace(beta=2.0)).key == Variant(PAPER.replace(beta=2)).key


def test_every_sweep_holds_the_papers_settings_and_varies_one_setting() -> None:
    for axis in set(Axis) - {Axis.STRENGTH}:
        points = sweep(axis)
        point = paper_point(axis)
        assert point is not None
        assert points[point] == BOTH
        for variant in points.values():
            assert variant.config is not None
            changed = {name for name, value in variant.config.to_dict().items() if value != PAPER.to_dict()[name]}
            assert changed <= {axis.value}


def test_alpha_and_beta_are_swept_together() -> None:
    points = sweep(Axis.STRENGTH)
    assert len(points) == 20
    assert points["0.1, 3"].config == PAPER.replace(alpha=0.1, beta=3.0)
    assert paper_point(Axis.STRENGTH) == "0.6, 1.5"


def test_cells_are_the_method_taken_apart() -> None:
    found = cells("diorama")
    guidance, motion = found["guidance only"].config, found["motion only"].config
    assert guidance is not None
    assert motion is not None
    assert (guidance.alpha, guidance.beta) == (PAPER.alpha, 1)
    assert (motion.alpha, motion.beta) == (0, PAPER.beta)
    assert found["vanilla"].config is None
    assert found["both, as for VideoCrafter2"].config == PAPER.replace(alpha=0.1, beta=10.0)


def test_each_model_is_measured_with_its_own_preset() -> None:
    assert cells("animatediff")["preset"] == BOTH
    assert cells("diorama")["preset"].config == presets()["diorama"].config
    assert cells("a folder")["preset"] == cells("diorama")["preset"]


def test_a_plan_broken_off_has_the_same_prompts_everywhere() -> None:
    units = plan(MODELS, list(Part), Extent(clips=40, subset=20, pairs=9))
    assert len(units) == len(set(units))
    first = [unit for unit in units if unit.treatment in cells("diorama").values() and unit.stop <= 16]
    assert units.index(first[-1]) < units.index(Unit("diorama", VANILLA, 16, 32))
    assert Unit("diorama", VANILLA, 32, 40) in units
    assert Unit("diorama-early", Swap(), 8, 9) in units
    assert [unit.model for unit in units[:2]] == [WORLD, WORLD]


def test_points_that_parts_share_are_planned_once() -> None:
    units = plan(MODELS, list(Part), Extent(clips=16, subset=16, pairs=1))
    assert sum(unit.treatment == BOTH for unit in units) == 2 * len(MODELS), "on the prompts of the sweeps and others"


def test_only_the_first_clips_of_the_papers_settings_and_of_vanilla_are_recorded() -> None:
    for variant in (VANILLA, BOTH, EVERY_STEP):
        assert Unit("diorama", variant, RECORDED_CLIPS - 8, RECORDED_CLIPS + 8).recorded
        assert not Unit("diorama", variant, RECORDED_CLIPS, RECORDED_CLIPS + 16).recorded
    for variant in (cells("diorama")["+FreeInit"], cells("diorama")["motion only"], *list(BANDS.values())[1:]):
        assert not Unit("diorama", variant, 0, 16).recorded
