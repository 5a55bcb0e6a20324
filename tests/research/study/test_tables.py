"""How figures are written down."""

import numpy as np

from bytheway.evaluation.statistics import NOTHING, Estimate
from research.study import tables
from research.study.curves import Curve
from research.study.results import Comparison

SURE = Estimate(0.25, 0.1, 0.4, 50)
UNSURE = Estimate(-0.05, -0.2, 0.1, 50)


def comparison() -> Comparison:
    names = (*tables.SUMMARY, "to_first")
    vanilla = dict.fromkeys(names, Estimate(0.5, 0.4, 0.6, 50))
    return Comparison(
        50,
        {"vanilla": vanilla, "both": vanilla},
        {"both": dict.fromkeys(names, UNSURE) | {"broken": SURE, "motion_range": NOTHING}},
    )


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_shares_are_per_cent_and_the_rest_in_its_unit() -> None:
    found = {row[0]: row[1] for row in rows(tables.values(comparison()))[2:]}
    assert found["subject as prompted, %"] == "50.0 [40.0, 60.0]"
    assert found["jerk, px"] == "0.50 [0.40, 0.60]"
    assert found["consistency with the first frame"] == "0.500 [0.400, 0.600]"


def test_differences_are_signed_and_bold_where_they_are_sure() -> None:
    found = {row[0]: row[1] for row in rows(tables.differences(comparison()))[2:]}
    assert found["broken structure, %"] == "**+25.0** [+10.0, +40.0]"
    assert found["subject as prompted, %"] == "-5.0 [-20.0, +10.0]"
    assert found["motion range (prompts that move), px"] == "–"


def test_the_summary_has_a_line_for_each_treatment() -> None:
    heads, _, vanilla, both = rows(tables.summary(comparison()))
    assert [row[0] for row in (vanilla, both)] == ["vanilla", "both"]
    assert both[heads.index("broken structure")] == "**50.0 %** (+25.0)"
    assert both[1] == "50.0 %"


def test_the_papers_setting_is_marked_in_a_sweep() -> None:
    lines = rows(tables.sweep(comparison(), ("broken", "jerk"), "both"))
    assert lines[2] == ["both (paper)", "**+25.0** % [+10.0, +40.0]", "-0.05 px [-0.20, +0.10]"]


def test_a_swap_tells_what_is_decided_after_the_active_steps() -> None:
    shares = [Estimate(float(share), 0, 1, 9) for share in np.linspace(0, 1, 6)]
    curve = Curve(9, shares, shares[::-1], Estimate(2.5, 2, 3, 9))
    assert rows(tables.swaps({"colour": curve}, 1))[2] == [
        "colour",
        "9",
        "2.50 steps [2.00, 3.00]",
        "20.0 % [0.0, 100.0]",
        "80.0 % [0.0, 100.0]",
    ]
