"""What the README shows in Python, and what else users write, has the types that a strict checker wants."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed: pip install -c constraints.txt -e '.[lint]'")

ROOT = Path(__file__).parents[1]
# Large packages that none of the files shows a type of, but for what every pipeline of diffusers inherits.
SKIPPED = """
[mypy-diffusers.*,transformers.*,accelerate.*,peft.*,pandas.*,triton.*]
follow_imports = skip
[mypy-diffusers,diffusers.pipelines,diffusers.pipelines.pipeline_utils]
follow_imports = silent
[mypy-diffusers.configuration_utils,diffusers.utils,diffusers.utils.hub_utils]
follow_imports = silent
"""
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


DIFFUSERS = """
from typing import Any

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from bytheway import apply_bytheway, enhanced, generate


class Moving(DiffusionPipeline):
    @torch.no_grad()
    def __call__(self, prompt: str | list[str] | None = None, num_frames: int | None = 16) -> Any:
        return None


class Other(Moving):
    def set_progress_bar_config(self) -> int:  # type: ignore[override]
        return 0


def make(pipe: Moving, other: Other) -> None:
    apply_bytheway(pipe)
    with enhanced(pipe):
        pipe("a red ball")
    for clip in generate(pipe, "a red ball"):
        clip.save("ball.mp4")
"""


def test_pipelines_of_diffusers_are_what_is_asked_for(tmp_path: Path) -> None:
    """By the types that diffusers gives them, which mypy sees where a class is imported from the module that has it."""
    assert check(tmp_path, DIFFUSERS) == []
    wrong = "    device: str = pipe.device\n    apply_bytheway(other)\n    generate(other, 'a red ball')\n"
    first = DIFFUSERS.count("\n") + 1
    found = check(tmp_path, DIFFUSERS + wrong)
    assert [line.partition(": ")[0] for line in found] == [f"snippet.py:{first + line}" for line in range(3)]


def check(folder: Path, code: str) -> list[str]:
    """The errors of a file in a folder of its own."""
    (folder / "snippet.py").write_text(code)
    (folder / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nfollow_imports = silent\nmypy_path = {ROOT / 'src'}\n"
        f"cache_dir = {folder.parent / 'mypy'}\n{SKIPPED}"
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
