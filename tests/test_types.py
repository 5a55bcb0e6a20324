"""What the README shows in Python, and what else users write, has the types that a strict checker wants."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed: pip install -c constraints.txt -e '.[lint]'")

ROOT = Path(__file__).parents[1]
# Large packages that neither of the two files shows a type of.
SKIPPED = "[mypy-diffusers.*,transformers.*,accelerate.*,peft.*,pandas.*,triton.*]\nfollow_imports = skip\n"
MORE = """
from typing import assert_type

from bytheway import ByTheWayConfig, observe
from bytheway.apply.api import Run
from bytheway.record import Record

with observe(pipe, ByTheWayConfig(tau=3)) as seen:
    pipe("a red ball")
assert_type(seen.record, Record)
with enhanced(pipe, record=False) as unrecorded:
    assert_type(unrecorded.record, Record | None)


def energies(run: Run) -> list[float]:
    return [row.energy for row in run.record.rows()]
"""


def test_what_users_write_has_types(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))
    assert "run.record.save(" in code
    assert check(tmp_path, code + MORE) == []
    wrong = "run.record.sav('run.csv')\nload('diorama', device=3)\nunrecorded.record.rows()\n"
    first = (code + MORE).count("\n") + 1
    found = check(tmp_path, code + MORE + wrong)
    assert [line.partition(": ")[0] for line in found] == [f"snippet.py:{first + line}" for line in range(3)]


def check(folder: Path, code: str) -> list[str]:
    """The errors of a file in a folder of its own."""
    (folder / "snippet.py").write_text(code)
    (folder / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nfollow_imports = silent\nmypy_path = {ROOT / 'src'}\n{SKIPPED}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "snippet.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line or ": note: " not in line]
