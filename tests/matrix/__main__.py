"""`python -m tests.matrix`: run the matrix and write docs/matrix.md from what came of it, unless nothing did.

Arguments are pytest's: `-n 2`, or `-k svd` for some of the cells; of the others the page says what it said before.
"""

import sys
from pathlib import Path

import pytest


class Outcomes:
    """Notes of each test, by what its name has in brackets, whether it passed."""

    def __init__(self) -> None:
        self.passed: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[2].rstrip("]")
        self.passed[name] = self.passed.get(name, True) and report.passed


def main(arguments: list[str]) -> int:
    """Status of the tests; pytest's for "no tests" where none ran."""
    outcomes = Outcomes()
    status = pytest.main([str(Path(__file__).with_name("test_matrix.py")), "-q", *arguments], plugins=[outcomes])

    if not outcomes.passed or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        reason = f"pytest ended with status {int(status)}" if outcomes.passed else "no test ran"
        print(f"docs/matrix.md is left as it was: {reason}.", file=sys.stderr)
        return int(status or pytest.ExitCode.NO_TESTS_COLLECTED)

    # Not before pytest has started, which wants to see what its plugins import.
    from bytheway.files import write_text
    from tests.matrix.table import DOCUMENT, cells, recorded, render

    known = cells()
    write_text(DOCUMENT, render(recorded() | {known[name]: passed for name, passed in outcomes.passed.items()}))
    print(f"Wrote {DOCUMENT}.")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
