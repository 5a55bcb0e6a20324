"""A run that is killed at any moment leaves whole clips, and the same command goes on."""

import signal
from pathlib import Path

import pandas

from tests.batch.running import digests, names, run, start, wait_for


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out, 6)
    wait_for(lambda: len(names(out)) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = digests(out)
    assert 2 <= len(before) < 6
    assert not (out / "manifest").exists()
    code, said = run(out, 6)
    assert code == 0, said
    assert f"{len(before)} are there, {6 - len(before)} are to be made" in said
    after = digests(out)
    assert len(after) == len(pandas.read_parquet(out / "manifest")) == 6
    assert before.items() <= after.items()
