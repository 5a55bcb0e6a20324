"""`python -m tests.matrix` writes the page from tests that ran, and leaves it alone where none did."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.matrix import __main__ as command
from tests.matrix import table

CELL = next(iter(table.cells()))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that is not the project's."""
    path = tmp_path / "matrix.md"
    path.write_text("as it was")
    monkeypatch.setattr(table, "DOCUMENT", path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, status: int, *passed: bool) -> int:
    """The command, with pytest in one word: its status, and whether the test of a cell passed, where one ran."""

    def pytest_main(arguments: list[str], plugins: list[Any]) -> int:
        for one in passed:
            plugins[0].pytest_runtest_logreport(SimpleNamespace(nodeid=f"test_cell[{CELL}]", passed=one))
        return status

    monkeypatch.setattr(pytest, "main", pytest_main)
    return command.main([])


@pytest.mark.parametrize(("status", "passed"), [(0, True), (1, False)])
def test_tests_that_ran_are_written(page: Path, monkeypatch: pytest.MonkeyPatch, status: int, passed: bool) -> None:
    assert run(monkeypatch, status, passed) == status
    assert table.recorded() == {table.cells()[CELL]: passed}


@pytest.mark.parametrize(
    ("status", "passed", "returned", "reason"),
    [
        (0, [], 5, "no test ran"),  # --help, --collect-only
        (5, [], 5, "no test ran"),
        (2, [True], 2, "status 2"),
        (4, [], 4, "no test ran"),
    ],
)
def test_the_page_is_left_where_no_test_ran_to_its_end(
    page: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    passed: list[bool],
    returned: int,
    reason: str,
) -> None:
    assert run(monkeypatch, status, *passed) == returned
    assert page.read_text() == "as it was"
    assert reason in capsys.readouterr().err
