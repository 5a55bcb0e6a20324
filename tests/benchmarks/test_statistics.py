"""Medians, quartiles and ratios, by hand."""

import pytest

from benchmarks.statistics import ratio, spread


def test_median_and_quartiles() -> None:
    assert spread([5.0, 1.0, 3.0, 4.0, 2.0]) == (3.0, 2.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_ratios_are_those_of_a_round() -> None:
    """A machine that is ten times as slow in one round is so for both columns."""
    assert ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == (2.0, 2.0, 2.0)
    found = ratio([1.0, 3.0, 8.0], [1.0, 1.0, 2.0])
    assert found == (3.0, 2.0, 3.5)


def test_every_value_needs_its_round() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])
