"""What is told of a judge beside people's votes."""

from __future__ import annotations

import numpy as np

from bytheway.evaluation.judge.results import agreement_rows, rows, spent
from bytheway.evaluation.judge.summary import Agreement, Figures
from bytheway.evaluation.statistics import NOTHING, Estimate, share


def test_agreement_is_told_where_people_voted() -> None:
    agreed = Agreement(Estimate(0.5, 0.25, 0.75, 8), Estimate(0.6, 0.4, 0.8, 5), Estimate(0.2, np.nan, np.nan, 1), 8)
    found = {
        ("enhanced", "video_quality"): Figures(1, 2, share(3, 4), share(6, 11), share(2, 7), agreed),
        ("enhanced", "motion_consistency"): Figures(0, 0, NOTHING, share(1, 2), share(1, 1), None),
    }
    assert agreement_rows(found) == [
        ("video_quality", "enhanced", "8", "0.5000 [0.2500 to 0.7500]", "0.6000 [0.4000 to 0.8000]", "0.2000 [–]")
    ]
    assert [row[:3] for row in rows(found)] == [
        ("video_quality", "enhanced", "0.7500 [0.3006 to 0.9544]"),
        ("motion_consistency", "enhanced", "– [–]"),
    ]
    assert [row[-2:] for row in rows(found)] == [("1", "2"), ("0", "0")]


def test_what_was_spent_is_summed() -> None:
    lines = [
        {"tokens_in": 100, "tokens_out": 10, "cost": 0.5},
        {"tokens_in": 50, "tokens_out": None, "cost": 0.25},
        {"tokens_in": None, "tokens_out": None, "cost": None},
    ]
    told = spent(lines)
    assert (told.calls, told.tokens_in, told.tokens_out, told.cost, told.uncounted) == (3, 150, 10, 0.75, 2)
    assert spent(lines[2:]).cost is None
