"""What the figures say they were measured on."""

import shutil
import subprocess
from pathlib import Path

import pytest

from research import machine


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in which the code seems to be."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "research").mkdir()
    (tmp_path / "docs").mkdir()
    code = tmp_path / "research" / "machine.py"
    code.touch()
    (tmp_path / "docs" / "results.md").touch()
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(machine, "__file__", str(code))
    return tmp_path


def test_the_revision_is_that_of_the_code(checkout: Path) -> None:
    clean = machine.revision()
    assert len(clean) >= 4
    (checkout / "docs" / "results.md").write_text("Figures.")
    assert machine.revision() == clean
    (checkout / "research" / "machine.py").write_text("x = 1")
    assert machine.revision() == f"{clean}-dirty"


def test_without_a_repository_it_is_the_version(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    assert machine.revision() == machine.bytheway.__version__
