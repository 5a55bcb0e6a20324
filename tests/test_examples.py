"""The examples run as they are, each in a process of its own, with nothing downloaded."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bytheway.clips import load_video, read_metadata

ROOT = Path(__file__).parents[1]


def run(name: str, folder: Path) -> str:
    """What an example prints, run in a folder as a user would from anywhere."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(ROOT / "examples" / name)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_animatediff(tmp_path: Path) -> None:
    found = re.search(r"changes (\d+)% of the pixels", run("animatediff.py", tmp_path))
    assert found is not None
    assert int(found[1]) > 5
    frames, _ = load_video(tmp_path / "animatediff.gif")
    assert len(frames) == 16
    assert frames.shape[2] > 2 * 256
    assert "ball" in read_metadata(tmp_path / "animatediff.gif")["prompt"]


def test_video_transformer(tmp_path: Path) -> None:
    found = re.search(r"changes by (0\.\d+) on average", run("video_transformer.py", tmp_path))
    assert found is not None
    assert float(found[1]) > 1e-4


def test_read_a_record(tmp_path: Path) -> None:
    heads, *lines, last = run("read_a_record.py", tmp_path).splitlines()
    assert heads.split() == ["step", "block", "energy", "after", "disparity", "beta"]
    assert {int(line.split()[0]) for line in lines} == {0, 1, 2, 3}
    for line in lines:
        _, _, energy, after, disparity, beta = line.split()
        assert float(after) >= float(energy) - 1e-3
        assert float(beta) >= 1
        assert disparity == "-" or float(disparity) > 0
    with open(tmp_path / "record.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert last == f"All {len(rows)} rows are in record.csv."
    assert len(rows) >= len(lines)


def test_plain_unet(tmp_path: Path) -> None:
    *_, last = run("plain_unet.py", tmp_path).splitlines()
    assert float(last.split()[4]) > 0


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_every_example_says_how_to_run_it(path: Path) -> None:
    assert f"\n    python examples/{path.name}\n" in path.read_text(encoding="utf-8")
