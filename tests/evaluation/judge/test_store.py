"""What was paid for is kept, whatever happens to the process."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.judge.store import Store, alone


def line(key: str, reply: str = "") -> dict[str, Any]:
    """What is kept of a call, as far as it is ever looked at."""
    names = ("answer", "reason", "finish_reason", "tokens_in", "tokens_out", "cost", "with_schema", "max_tokens")
    return {"key": key, "reply": reply, **dict.fromkeys((*names, "detail", "size", "images", "request"))}


def dumped(key: str) -> bytes:
    return json.dumps(line(key)).encode()


def test_lines_are_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        real(file)
        synced.append((tmp_path / "calls").stat().st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    store = Store(tmp_path / "calls")
    assert (store.lines, store.get("a")) == ([], None)
    store.append(line("a", "é\n"))
    store.append(line("b", "2"))
    store.append(line("a", "3"))
    assert len(synced) == 3
    assert synced[-1] == (tmp_path / "calls").stat().st_size, "all of it is on the disk"
    again = Store(tmp_path / "calls")
    assert again.lines == store.lines
    assert [line["reply"] for line in again.lines] == ["é\n", "2", "3"]
    assert again.get("a") == line("a", "3"), "the later one"
    assert (store.before, again.before) == (0, 3)


@pytest.mark.parametrize("torn", [1, 5, 20])
def test_a_torn_last_line_costs_itself_only(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "calls"
    store = Store(path)
    for key in "abc":
        store.append(line(key, "x" * 20))
    path.write_bytes(path.read_bytes()[:-torn])
    store = Store(path)
    assert [one["key"] for one in store.lines] == (["a", "b", "c"] if torn == 1 else ["a", "b"])
    store.append(line("d"))
    assert [line["key"] for line in Store(path).lines] == (["a", "b", "c", "d"] if torn == 1 else ["a", "b", "d"])


def test_what_is_no_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    others = [b"\xff\xfe", b"[]", b"{}", b"", b"null", b'{"key": "c"}']
    path.write_bytes(b"\n".join([dumped("a"), *others, dumped("b"), b""]))
    assert [line["key"] for line in Store(path).lines] == ["a", "b"]


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    store = Store(tmp_path / "calls")
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        for k in range(10):
            store.append(line(f"{number}-{k}", "x" * 5000))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    lines = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert {line["key"] for line in lines} == {f"{number}-{k}" for number in range(8) for k in range(10)}
    assert {line["reply"] for line in lines} == {"x" * 5000}


def test_a_full_disk_is_said(tmp_path: Path, nearly_full_disk: Callable[[int], AbstractContextManager[None]]) -> None:
    store = Store(tmp_path / "calls")
    store.append(line("a"))
    with nearly_full_disk(100), pytest.raises(ByTheWayError, match="calls cannot be written"):
        store.append(line("b", "x" * 1000))
    assert [line["key"] for line in Store(tmp_path / "calls").lines] == ["a"]
    store.append(line("c"))
    assert [line["key"] for line in Store(tmp_path / "calls").lines] == ["a", "c"]


def test_nobody_else_pays_for_the_same(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ByTheWayError, match="Another judge is at work in"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass
