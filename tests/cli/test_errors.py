"""Bad input is one sentence and exit code 2; an interruption is 130; a bug stays a traceback."""

import errno
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from typer import Exit
from typer.testing import Result

from bytheway.cli.errors import reported, sentence_for
from bytheway.clips.inputs import read_video
from bytheway.errors import ByTheWayError

Command = Callable[..., Result]


def check(result: Result, said: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    *notes, sentence = result.stderr.strip().splitlines()
    assert sentence.startswith("Error: ")
    assert said in sentence
    assert all(note.startswith(("Seed", "Loading")) for note in notes)
    assert not list(Path().glob("**/*.mp4"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "prompt is empty"),
        (["a ball", "  "], "prompt is empty"),
        (["a \udcff ball"], r"'a \udcff ball' is no text in UTF-8"),
        (["a ball", "--negative-prompt", "\udcff"], "is no text in UTF-8"),
        (["a ball", "--alpha", "1.5"], "alpha is 1.5"),
        (["a ball", "--alpha", "nan"], "alpha is nan"),
        (["a ball", "--beta", "0.5"], "beta is 0.5"),
        (["a ball", "--beta", "1e308"], "beta is 1e+308"),
        (["a ball", "--guidance-scale", "nan"], "guidance_scale is nan"),
        (["a ball", "--guidance-scale", "inf"], "guidance_scale is inf"),
        (["a ball", "--guidance-scale", "-1"], "guidance_scale is -1"),
        (["a ball", "--tau", "-1"], "tau is -1"),
        (["a ball", "--active-steps", "20"], "active_steps is 20"),
        (["a ball", "--preset", "sora"], "no preset 'sora'; the presets are animatediff"),
        (["a ball", "--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["a ball", "--config", "wrong.toml"], "Unknown setting gamma"),
        (["a ball", "--config", "right.toml", "--preset", "diorama"], "leave one of them out"),
        (["a ball", "--no-enhance", "--alpha", "0.5"], "--no-enhance leaves the method out"),
        (["a ball", "--no-enhance", "--compare"], "comparison needs"),
        (["a ball", "--seed", "-1"], "seed is -1"),
        (["a ball", "--size", "512"], "write WIDTHxHEIGHT"),
        (["a ball", "--size", "1" * 5000 + "x8"], "write WIDTHxHEIGHT"),
        (["a ball", "--size", "8x100000"], "16384 at most on a side"),
        (["a ball", "--size", "999999999x999999999", "-o", "folder"], "fits into no memory"),
        (["a ball", "--frames", str(10**30)], "fits into no memory"),
        (["a ball", "--frames", "0"], "num_frames is 0"),
        (["a ball", "--num-videos", "0"], "num_videos is 0"),
        (["a ball", "--steps", "0"], "steps is 0"),
        (["a ball", "--fps", "0"], "frame rate is 0"),
        (["a ball", "--scale", "99999"], "16384 at most on a side"),
        (["a ball", "--scale", "257", "--size", "64x64"], "The frames have 16448x16448 pixels"),
        (["a ball", "--scale", "257", "--size", "64x64", "-o", "a.gif"], "16384 at most on a side (--scale)"),
        (["a ball", "--scale", "257", "--size", "64x64", "-o", "folder"], "16384 at most on a side (--scale)"),
        (["a ball", "--scale", "200", "--size", "64x64", "-o", "folder"], "are the most that is written (--scale)"),
        (["a ball", "--num-videos", "1000000000"], "1000000000 clips are too many for one run"),
        (["a ball", "b", "--num-videos", "50001"], "100002 clips are too many for one run"),
        (["a ball", "-o", "."], "give a name for a new one in it"),
        (["a ball", "-o", ""], "give a name for a new one in it"),
        (["a ball", "-o", ".", "--num-videos", "2"], "give a name for a new one in it"),
        (["a ball", "--record", "folder.csv"], "is a folder"),
        (["a ball", "--num-videos", "2", "--record", "folder.csv"], "folder-2.csv is a folder"),
        (["a ball", "--fps", "60", "-o", "a.gif"], "at most 50"),
        (["a ball", "-o", "a.avi"], "ends in .avi: use .mp4"),
        (["a ball", "-o", "right.toml/a.mp4"], "cannot be written: Not a directory"),
        (["a ball", "-o", "/proc/nowhere/a.mp4"], "cannot be written"),
        (["a ball", "--record", "r.parquet"], "end in .csv or .jsonl"),
        (["a ball", "--record", "/proc/r.csv"], "cannot be written"),
    ],
)
def test_known_before_a_model_is_loaded(
    bytheway: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    def load(model: str, **choice: Any) -> Any:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("bytheway.models.choice.load", load)
    Path("folder.csv").mkdir()
    Path("folder-2.csv").mkdir()
    Path("wrong.toml").write_text("gamma = 1\n")
    Path("right.toml").write_text("alpha = 0.5\n")
    check(bytheway("generate", *arguments), said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "dioramo"], "did you mean diorama"),
        (["--model", "text.safetensors"], "text.safetensors"),
        (["--model", "~nobody-of-this-name/x"], "There is no model '~nobody-of-this-name/x'"),
        (["--model", "folder"], "no model_index.json"),
        (["--device", "tpu"], "'tpu' is no device"),
        (["--device", "cuda:99"], "There is no"),
        (["--dtype", "int3"], "float32, float16 or bfloat16"),
    ],
)
def test_models_that_are_none(bytheway: Command, arguments: list[str], said: str) -> None:
    Path("text.safetensors").write_text("no weights at all")
    Path("folder").mkdir()
    check(bytheway("generate", "a ball", *arguments), said)


def test_known_once_the_model_is_there(generate: Command) -> None:
    check(generate("a ball", "--size", "20x16"), "multiples of 8")
    check(generate("a ball", "--frames", "40"), "at most 32 frames")
    check(generate("a ball", "--scale", "2000"), "The frames have 32000x32000 pixels")
    check(generate("a ball", "--scale", "40", "--compare"), "The frames have 20800x11600 pixels")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (RuntimeError("not enough memory: you tried to allocate 9 bytes."), "not enough memory"),
        (MemoryError(), "not enough memory"),
        (ConnectionError("no route"), "network cannot be reached"),
        (TimeoutError(), "network cannot be reached"),
        (OSError(errno.ENOSPC, "No space left on device", "a.mp4"), "a.mp4 cannot be written: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "a.png"), "a.png cannot be opened: Permission denied"),
        (ByTheWayError("Two\nlines."), "Two lines."),
    ],
)
def test_while_it_runs(generate: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def fail(self: object, step: Any) -> None:
        if step.done == 2:
            raise error

    monkeypatch.setattr("bytheway.cli.progress.RunProgress.__call__", fail)
    check(generate("a ball", "-o", "a.mp4"), said)
    assert list(Path().iterdir()) == []


def test_errors_of_network_libraries_are_the_network() -> None:
    library = type("ConnectError", (Exception,), {"__module__": "httpx._exceptions"})
    assert "network" in str(sentence_for(library("all connection attempts failed")))


def test_a_bug_stays_a_bug(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, step: Any) -> None:
        raise RuntimeError("The size of tensor a (4) must match the size of tensor b (5)")

    monkeypatch.setattr("bytheway.cli.progress.RunProgress.__call__", fail)
    result = generate("a ball", "-o", "a.mp4")
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)
    assert sentence_for(BrokenPipeError()) is None


@pytest.fixture
def signals() -> Iterator[None]:
    """As in a terminal, also where the tests themselves run in the background or under `nohup`."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["a.mp4", "a"])
def test_interruption_leaves_nothing(
    generate: Command, monkeypatch: pytest.MonkeyPatch, name: str, number: signal.Signals
) -> None:
    def stop(self: object, step: Any) -> None:
        if step.done == 3:
            signal.raise_signal(number)

    monkeypatch.setattr("bytheway.cli.progress.RunProgress.__call__", stop)
    result = generate("a ball", "-o", name, "--record", "r.csv")
    assert result.exit_code == 128 + number
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    assert "Interrupted" in result.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("signals")
def test_what_nohup_ignores_stays_ignored(generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(
        "bytheway.cli.progress.RunProgress.__call__", lambda self, step: signal.raise_signal(signal.SIGHUP)
    )
    assert generate("a ball", "-o", "a.mp4").exit_code == 0
    assert Path("a.mp4").exists()


def test_a_thread_handles_no_signals() -> None:
    with ThreadPoolExecutor(1) as thread, pytest.raises(Exit) as ended:
        thread.submit(reported()(read_video), Path("nowhere.mp4")).result()
    assert ended.value.exit_code == 2
