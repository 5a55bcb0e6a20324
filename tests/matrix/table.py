"""docs/matrix.md: the table as the tests made it."""

import string
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from research.markdown import table
from tests.matrix.features import FEATURES
from tests.matrix.reasons import reason_of
from tests.matrix.rows import ROWS

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "matrix.md"
HOLDS: Final = "✓"
FAILS: Final = "✗"
UNKNOWN: Final = "?"

_INTRODUCTION: Final = f"""\
# Every family with every feature

{HOLDS}: a test of the two together holds. {FAILS}: it fails. {UNKNOWN}: it has not been run yet. A letter: they cannot
be together, for the reason below, which is tested, too.

Each test runs a pipeline of toy size with random weights on a CPU: it tells whether the method does what it should, not
how good the videos of the published models are. There is no accelerator in it: offloading is the real one with the CPU
for both devices, so that hooks and their order are tested, and no bytes move.
"""

_REMAKE: Final = """\
The tests are in `tests/matrix`, named `pipeline-feature`; `python -m tests.matrix` runs them and writes this page.
"""


def cells() -> dict[str, tuple[str, str]]:
    """Row and column of each cell, by the name that its test has."""
    return {f"{row.name}-{feature.name}": (row.name, feature.name) for row in ROWS for feature in FEATURES}


def recorded() -> dict[tuple[str, str], bool]:
    """What the page says of each cell, by row and feature; nothing where there is no page."""
    page = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    names = {row.title: row.name for row in ROWS}
    found = {}
    for line in page.splitlines():
        title, *marks = (column.strip() for column in line.strip("|").split("|"))
        if title in names and len(marks) == len(FEATURES):
            marked = zip(FEATURES, marks, strict=True)
            found |= {(names[title], one.name): mark != FAILS for one, mark in marked if mark != UNKNOWN}
    return found


def render(passed: Mapping[tuple[str, str], bool]) -> str:
    """The page.

    Args:
        passed: by row and feature, whether the test of a cell did; cells that are missing have not been run.
    """
    reasons = {
        (row.name, feature.name): reason.text
        for row in ROWS
        for feature in FEATURES
        if (reason := reason_of(row, feature)) is not None
    }
    letters = dict(zip(dict.fromkeys(reasons.values()), string.ascii_lowercase, strict=False))

    def mark(cell: tuple[str, str]) -> str:
        if cell not in passed:
            return UNKNOWN
        if not passed[cell]:
            return FAILS
        return letters[reasons[cell]] if cell in reasons else HOLDS

    lines = [[row.title, *(mark((row.name, feature.name)) for feature in FEATURES)] for row in ROWS]
    parts = [
        _INTRODUCTION,
        table(["", *(feature.title for feature in FEATURES)], lines, centred=True) + "\n",
        "".join(f"- **{letter}** {text}\n" for text, letter in letters.items()),
        "## What the columns say\n",
        "".join(f"- **{feature.title}**: {feature.meaning}.\n" for feature in FEATURES),
        _REMAKE + f"This one was made with {_versions()}.\n",
    ]
    return "\n".join(parts)


def _versions() -> str:
    return ", ".join(f"{package} {version(package).partition('+')[0]}" for package in ("torch", "diffusers", "peft"))
