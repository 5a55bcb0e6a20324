"""The Triton kernels, each time in a process of its own: whether Triton interprets is settled when it is imported."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from bytheway.attention import triton as kernels

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed.")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU.")


def run_tests(name, cache, **environment):
    """The tests of a file that is not collected here."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("TRITON_INTERPRET", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", HERE / name],
        cwd=HERE.parents[1],
        env={**inherited, "TRITON_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
def test_in_the_interpreter(tmp_path):
    run_tests("triton_cases.py", tmp_path, TRITON_INTERPRET="1")


@needs_triton
def test_the_first_use_is_tried(tmp_path):
    run_tests("trial_cases.py", tmp_path, TRITON_INTERPRET="1")


@needs_triton
def test_compiled_for_other_machines(tmp_path):
    run_tests("triton_targets.py", tmp_path)


@needs_triton
@needs_gpu
def test_on_a_gpu(tmp_path):
    run_tests("triton_cases.py", tmp_path)


def test_no_kernel_for_a_cpu(monkeypatch):
    """Nor is triton looked for."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(kernels, "find_spec", lambda name: pytest.fail(f"looked for {name}"))
    kernels._runs_on.cache_clear()
    rows, maps = torch.zeros(2, 1, 8, 16), torch.zeros(2, 1, 8, 8)
    assert not kernels.supports(rows, rows, rows, maps)


def test_no_kernel_without_triton(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    kernels._runs_on.cache_clear()
    rows, maps = torch.zeros(2, 1, 8, 16), torch.zeros(2, 1, 8, 8)
    assert not kernels.supports(rows, rows, rows, maps)
    kernels._runs_on.cache_clear()
