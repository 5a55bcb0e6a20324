"""Ray for real, on this machine: a worker is killed, the driver is killed, and the clips are those made without Ray."""

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas
import psutil
import pytest

from bytheway.clips.read import read_metadata
from tests.batch.running import begin, digests, ended, names, run, start, wait_for

pytest.importorskip("ray")

CLIPS = 6


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of Ray alone: its own home, and a short path for its sockets."""
    short = tempfile.mkdtemp(prefix="btw-")
    home = tmp_path_factory.mktemp("home")
    yield {"HOME": str(home), "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": short, "RAY_USAGE_STATS_ENABLED": "0"}
    shutil.rmtree(short, ignore_errors=True)


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def workers(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for one in processes:
        try:
            if one.cmdline() and one.cmdline()[0].startswith("ray::_Worker"):
                found.append(one)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def after_a_lost_worker(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str, Path]:
    """Two workers, of which one is killed while it makes a clip."""
    out = tmp_path_factory.mktemp("lost") / "out"
    process = start(out, CLIPS, "--workers", "2", env=env)
    wait_for(lambda: len(names(out)) >= 1, process)
    processes = family(process.pid)
    workers(processes)[0].kill()
    stdout, stderr = process.communicate(timeout=300)
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
    return process.returncode, stdout, stderr, out


def test_a_killed_worker_is_replaced(after_a_lost_worker: tuple[int, str, str, Path]) -> None:
    code, _, stderr, out = after_a_lost_worker
    assert code == 0, stderr
    assert len(digests(out)) == len(pandas.read_parquet(out / "manifest")) == CLIPS
    assert "A worker is lost" in stderr


def test_what_is_printed_for_pipes_is_ours(after_a_lost_worker: tuple[int, str, str, Path]) -> None:
    """Ray tells of deaths too, also where it is asked not to."""
    _, stdout, _, out = after_a_lost_worker
    assert stdout.splitlines() == [
        f"clips: {CLIPS}",
        "there before: 0",
        f"made: {CLIPS}",
        "set aside: 0",
        f"output: {out}",
    ]


def test_a_killed_driver_takes_its_workers_along_and_any_other_goes_on(
    env: dict[str, str], after_a_lost_worker: tuple[int, str, str, Path], tmp_path: Path
) -> None:
    """The other is a process without Ray, and its clips are the same bit for bit."""
    out = tmp_path / "out"
    process = start(out, CLIPS, "--workers", "2", env=env)
    wait_for(lambda: len(names(out)) >= 1, process)
    processes = family(process.pid)
    makers = workers(processes)
    assert len(makers) == 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert psutil.wait_procs(makers, timeout=60)[1] == []
    there = digests(out)
    assert 1 <= len(there) < CLIPS
    code, said = run(out, CLIPS)
    assert code == 0, said
    assert f"{len(there)} are there" in said
    assert digests(out) == digests(after_a_lost_worker[3])
    # Ray's agents ask a while for the one that was killed.
    assert psutil.wait_procs(processes, timeout=300)[1] == []


def test_a_model_that_is_not_there_is_said_and_not_hired_again(env: dict[str, str], tmp_path: Path) -> None:
    code, said = run(tmp_path / "out", 1, "--workers", "2", "--model", "nonsense", env=env)
    assert code == 2
    assert "There is no model 'nonsense'" in said


def test_an_experiment_has_the_clips_that_it_has_without_ray(env: dict[str, str], tmp_path: Path) -> None:
    """`bytheway evaluate`: frame for frame, under the same names, with the same facts and figures beside them."""
    prompts = tmp_path / "list.txt"
    prompts.write_text("a red ball rolling to the right on grass\n")
    asked = ("--prompts", str(prompts), "--steps", "2", "--frames", "4", "--measures", "temporal_flickering")
    alone, crew = tmp_path / "alone", tmp_path / "crew"
    for out, more in ((alone, ()), (crew, ("--workers", "1"))):
        code, said = ended(begin("evaluate", *asked, "-o", str(out), *more, env=env))
        assert code == 0, said
    made = {
        out: {path.relative_to(out): read_metadata(path)["frames_sha256"] for path in out.rglob("*.mp4")}
        for out in (alone, crew)
    }
    assert len(set(made[crew].values())) == 2
    assert made[crew] == made[alone]
    assert json.loads((crew / "experiment.json").read_text()) == json.loads((alone / "experiment.json").read_text())
    assert (crew / "table.csv").read_text() == (alone / "table.csv").read_text()
