"""What importing the room costs, in an interpreter of its own."""

import subprocess
import sys

from bytheway import clips


def test_it_imports_no_other_room_and_no_torch() -> None:
    code = "import bytheway.clips, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    modules = set(done.stdout.split())
    ours = {name for name in modules if name.startswith("bytheway.") and not name.startswith("bytheway.clips")}
    assert ours == {"bytheway.config", "bytheway.errors", "bytheway.files"}, "the face itself has the config"
    assert not modules & {"torch", "diffusers", "transformers"}


def test_every_public_name_is_there() -> None:
    assert all(hasattr(clips, name) for name in clips.__all__)
