"""`benchmarks/gpu.sh`: in its quick form, and what it says where something is missing."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks.results import read, save

ROOT = Path(__file__).parents[2]


def gpu(*arguments: object, python: object = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TRITON_INTERPRET")}
    return subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", *map(str, arguments)],
        env={**inherited, "PYTHON": str(python), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def python_that(path: Path, does: str) -> Path:
    """A python of its own kind."""
    path.write_text(f'#!/bin/sh\n{does}\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


def test_the_quick_form(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    done = gpu("--quick", tmp_path / "new", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    results = read(tmp_path / "new", "cpu")
    assert {name: list(parts) for name, parts in results.items()} == {
        "animatediff": ["kernels", "core", "step", "run"],
        "videocrafter2": ["core", "step", "run"],
    }
    assert len(results["animatediff"]["kernels"].words) == 4
    for sentence in results["animatediff"]["kernels"].words:
        assert ": right; its output is off by " in sentence
    assert results["animatediff"]["kernels"].machine["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "passive")
    tables = (tmp_path / "new" / "results-cpu.md").read_text()
    assert "### kernels: Triton's, against whole maps in float64\n\n" in tables
    assert "| an active step | " in done.stdout
    lines = done.stderr.splitlines()
    assert lines[-1].endswith("Everything was measured")
    assert lines.index("animatediff kernels on cpu") < lines.index("videocrafter2 run on cpu")


def test_figures_that_fail_are_named(tmp_path: Path) -> None:
    """Here one model fails, and for the other there is no time; what was measured before is kept."""
    does = 'case "$*" in *kernels*|*animatediff*step*) echo "RuntimeError: CUDA error" >&2; exit 7;; esac'
    does += '\ncase "$*" in *videocrafter2*) set -- "$@" --minutes 0;; esac'
    python = python_that(tmp_path / "python", does)
    done = gpu("--quick", tmp_path, python=python)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("That ended with exit code 7: RuntimeError: CUDA error") == 2
    assert done.stderr.splitlines()[-1].endswith("Nothing was measured.")

    save(tmp_path, "cpu", {})
    done = gpu("--quick", tmp_path, python=python)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "Missing: animatediff kernels, animatediff core, animatediff step, animatediff run, "
        "videocrafter2 core, videocrafter2 step, videocrafter2 run"
    )


def test_packages_that_are_missing_are_named(tmp_path: Path) -> None:
    """All at once, before anything runs."""
    done = gpu("--quick", tmp_path, python=python_that(tmp_path / "python", 'set -- -S "$@"'))
    assert done.returncode == 2
    assert "lacks accelerate, diffusers, huggingface_hub, jaxtyping, numpy, pillow, rich, safetensors" in done.stderr
    assert "WHEELS=wheels benchmarks/gpu.sh" in done.stderr


def test_wheels_come_before_what_the_machine_has(tmp_path: Path) -> None:
    """Here a torch that is none."""
    (tmp_path / "wheels").mkdir()
    build_wheel(tmp_path / "wheels", "torch", "raise SystemExit('the torch of the wheels')")
    done = gpu("--quick", tmp_path, WHEELS=str(tmp_path / "wheels"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "the torch of the wheels"
    (tmp_path / "wheels" / "torch-1-py3-none-any.whl").write_text("")
    done = gpu("--quick", tmp_path, WHEELS=str(tmp_path / "wheels"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"The wheels of {tmp_path}/wheels do not install.")


def build_wheel(folder: Path, name: str, code: str) -> None:
    """The least that pip installs."""
    facts = f"{name}-1.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", code)
        wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{facts}/RECORD", "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu(tmp_path: Path) -> None:
    done = gpu(tmp_path)
    assert done.returncode == 2
    assert "torch sees no GPU here (torch " in done.stderr
    assert not list(tmp_path.iterdir())
