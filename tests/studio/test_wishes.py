"""What can be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from bytheway.errors import ByTheWayError
from bytheway.generation.request import Request
from bytheway.models.choice import ModelChoice
from bytheway.studio.wishes import Axis, Best, Wish

CHOICE = ModelChoice("diorama", None, (), None, None)


def wish(**changes: Any) -> Wish:
    return Wish(CHOICE, Request(("a red ball",), seed=3), **changes)


def test_one_request_is_one_cell() -> None:
    (cell,) = wish().cells()
    assert (cell.request.seed, dict(cell.config_changes), cell.label) == (3, {}, "")


def test_a_grid_goes_through_both_settings() -> None:
    asked = wish(grid=(Axis("beta", (1, 2.5)), Axis("seed", (1.0, 2.0))))
    cells = asked.cells()
    assert asked.clips == 4
    assert [(one.config_changes["beta"], one.request.seed) for one in cells] == [(1, 1), (1, 2), (2.5, 1), (2.5, 2)]
    assert cells[2].label == "beta 2.5, seed 1"


def test_a_grid_that_is_too_large_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wish, "cells", lambda self: pytest.fail("a cell was made"))
    values = tuple(range(2000))
    with pytest.raises(ByTheWayError, match="4000000 clips"):
        wish(grid=(Axis("seed", values), Axis("beta", values)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Axis("prompt", (1,)), "none of the settings"),
        (lambda: Axis("alpha", ()), "no value"),
        (lambda: Axis("tau", (1.5,)), "whole number"),
        (lambda: Best(4, 4, "motion"), "fewer than are begun"),
        (lambda: Best(1000, 4, "motion"), "at most 64"),
        (lambda: Best(4, 1, "beauty"), "motion, structure, both"),  # type: ignore[arg-type]
        (lambda: wish(grid=(Axis("alpha", (0.1,) * 7), Axis("beta", (1,) * 7))), "49 clips"),
        (lambda: wish(grid=(Axis("beta", (1,)), Axis("alpha", (0.2,)), Axis("seed", (2,)))), "varies 3 settings"),
        (lambda: wish(grid=(Axis("beta", (1,)), Axis("beta", (2,)))), "the same setting"),
        (lambda: wish(grid=(Axis("beta", (1,)),), method=None), "left out"),
        (lambda: wish(compare=True, method=None), "needs the method"),
        (lambda: wish(compare=True, best=Best(2, 1, "both")), "without a grid"),
        (lambda: wish(grid=(Axis("beta", (1,)),), best=Best(2, 1, "both")), "without a grid"),
        (lambda: wish(grid=(Axis("steps", (0,)),)), "steps is 0"),
    ],
)
def test_what_cannot_be_is_said(make: Any, said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        make()
