"""What the README says to type works as it stands, in a folder of its own and without a network."""

import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from research.diorama.captions import caption
from research.diorama.world import Scene

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMPT = "a red ball rolling to the right on grass"
# One process for both, so that torch is imported once: the command line is called as its console script does.
RUN = """
import json, sys
python, commands = json.load(sys.stdin)
exec(python, {})
from bytheway.cli import app
for command in commands:
    app(command, prog_name="bytheway", standalone_mode=False)
"""


def python() -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))


def commands() -> list[list[str]]:
    """The command lines of bytheway, but those that download something, as they say."""
    lines = [line for line in README.splitlines() if line.startswith("bytheway ") and "# downloads" not in line]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything was run."""
    place = tmp_path_factory.mktemp("readme")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([python(), commands()]),
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (place / "output").write_text(done.stdout)
    return place


def test_the_files_are_there(folder: Path) -> None:
    named = set(re.findall(r"\b[\w-]+\.(?:mp4|gif|csv)\b", python() + str(commands())))
    assert named >= {"ball.mp4", "both.gif", "run.csv"}
    for name in named:
        assert (folder / name).stat().st_size > 100, name


def test_the_record_has_the_active_steps(folder: Path) -> None:
    rows = (folder / "run.csv").read_text().splitlines()
    column = rows[0].split(",").index("step")
    assert {row.split(",")[column] for row in rows[1:]} == {"0", "1"}  # a fifth of 10


def test_the_commands_say_what_was_made(folder: Path) -> None:
    output = (folder / "output").read_text()
    assert PROMPT in output  # show
    assert "videocrafter2" in output  # models
    assert "up_blocks.0" in output  # inspect


def test_the_prompt_is_chosen_by_the_rule_that_is_said() -> None:
    """The first of the model card's subjects, colours and settings, and its best motion that goes somewhere."""
    card = (ROOT / "src/bytheway/models/diorama/MODEL_CARD.md").read_text()
    lists = re.search(r"One subject \((\w+), .*?colours \((\w+), .*? setting \((\w+), ", card)
    assert lists is not None
    subject, colour, setting = lists.groups()
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| ([\d.]+) % \|", card, re.MULTILINE)
    whole = {motion: int(clips) for motion, clips, _, broken in rows if float(broken) == 0 and motion != "still"}
    motion = max(whole, key=whole.__getitem__)
    assert (subject, colour, setting, motion) == ("ball", "red", "meadow", "right")
    scene = Scene(subject, colour, setting, motion)
    assert PROMPT in {caption(scene, random.Random(seed)) for seed in range(2000)}
    assert README.count(PROMPT) == README.count("a red ball ") == 5
    assert f'generate "{PROMPT}" -o ball.mp4' in (ROOT / ".ci/run").read_text()
    broken = {motion: float(share) for motion, _, _, share in rows}
    assert f"with {broken['jump']:.0f} and {broken['spin']:.0f} % broken" in README
