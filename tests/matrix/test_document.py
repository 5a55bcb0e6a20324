"""docs/matrix.md has the pipelines, features and reasons that the code declares, and no cell that fails."""

import re

from bytheway.families.known import families
from tests.matrix import rows
from tests.matrix.table import DOCUMENT, cells, render


def without_versions(page: str) -> str:
    return re.sub(r"This one was made with .*\n", "", page)


def test_the_page_is_that_of_the_declared_cells() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert without_versions(page) == without_versions(render(dict.fromkeys(cells().values(), True))), (
        "docs/matrix.md has other cells or words than the tests; run python -m tests.matrix"
    )


def test_every_declared_pipeline_has_a_row() -> None:
    declared = {pipeline for family in families() for pipeline in family.pipelines}
    assert declared == {row.pipeline for row in rows.EVERY}
