"""The shapes that annotations tell are those of the tensors, checked in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKED = "bytheway.method,bytheway.attention.site,bytheway.attention.measures,beartype.beartype"


def test_annotated_shapes_hold():
    """Tests of what is said of wrong arguments are left out: the checks speak first."""
    tests = ["tests/shape_cases.py", "tests/test_method.py", "tests/attention/test_site.py"]
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", f"--jaxtyping-packages={CHECKED}", "-k", "not said"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
