"""The examples in docstrings run, but for those that need a model."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import bytheway

ROOT = Path(bytheway.__file__).parent
MODULES = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(import_module(name)).failed == 0


def test_the_method_has_examples():
    assert doctest.testmod(import_module("bytheway.method")).attempted > 10
