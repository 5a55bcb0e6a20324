"""What is only in a checkout: who imports whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKOUT = {"benchmarks", "examples", "research", "tests"}


def imported(path: Path) -> set[str]:
    """The packages that a file imports, inside functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("research", {"research"}),
        ("benchmarks", {"research", "benchmarks"}),
        ("examples", set()),
    ],
)
def test_imports_point_one_way(folder: str, allowed: set[str]) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {str(path): found for path in files if (found := imported(path) & CHECKOUT - allowed)}
    assert wrong == {}
