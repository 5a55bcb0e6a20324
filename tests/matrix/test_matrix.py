"""Each cell: the feature's test, or that of the reason why the cell cannot be."""

import pytest

from tests.matrix.features import FEATURES, Feature
from tests.matrix.reasons import reason_of
from tests.matrix.rows import ROWS, Row
from tests.matrix.subject import subject_of

pytestmark = [
    # diffusers' Euler scheduler hands tensors to numpy in a way that numpy 2 warns of.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    # Mochi asks for float32 by an autocast that CPUs do not have.
    pytest.mark.filterwarnings("ignore:In CPU autocast"),
]


@pytest.mark.parametrize(
    ("row", "feature"),
    [pytest.param(row, feature, id=f"{row.name}-{feature.name}") for row in ROWS for feature in FEATURES],
)
def test_cell(row: Row, feature: Feature) -> None:
    reason = reason_of(row, feature)
    test = feature.test if reason is None else reason.test
    test(subject_of(row.name))
