"""A torchvision that is not there, or beside another torch, is one sentence each. Each in an interpreter of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CATCH = """
import torch
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones import importing
try:
    importing.{call}()
except ByTheWayError as error:
    print(error)
"""


def said(call: str, folder: Path) -> str:
    """What a call says where `folder` has the first word about what is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    code = CATCH.format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def mismatched(tmp_path: Path) -> Path:
    """A torchvision whose import fails as one does whose operators are of another build."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    record = tmp_path / "torchvision-0.11.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.11.0\n")
    return tmp_path


@pytest.mark.parametrize("call", ["torchvision_flow", "transformers"])
def test_a_torchvision_that_does_not_match_names_the_pair(mismatched: Path, call: str) -> None:
    sentence = said(call, mismatched)
    assert sentence.startswith("torchvision 0.11.0 does not go with torch 2.")
    pair = re.search(r"install torch==2\.(\d+)\.(\d+) torchvision==0\.(\d+)\.(\d+), both from one index", sentence)
    assert pair is not None, sentence
    assert int(pair[3]) == int(pair[1]) + 15
    assert pair[4] == pair[2]


def test_no_torchvision(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise ModuleNotFoundError('none', name='torchvision')\n")
    sentence = said("torchvision_flow", tmp_path)
    assert re.fullmatch(
        r"RAFT requires torchvision, which is not installed; install the one for this torch, torch==2\.\d+\.\d+ "
        r"torchvision==0\.\d+\.\d+, both from one index\.",
        sentence,
    )
