"""Every reply that was paid for, kept in the experiment's folder: one line of JSON each, written at once."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError

CALLS: Final = "judge.jsonl"
_NAMES: Final = frozenset(
    {"key", "answer", "reason", "finish_reason", "tokens_in", "tokens_out", "cost", "with_schema", "max_tokens"}
    | {"detail", "size", "images", "request"}
)
"""What is looked at of a line; one without is damaged."""
_LOCK: Final = ".judge.lock"


class Store:
    """The replies in a file, by the keys of their requests; of two with one key the later.

    Args:
        path: of the file, which need not be there.

    Attributes:
        lines: every reply, in the order in which they came.
        before: how many of them were there already.

    Raises:
        ByTheWayError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Mapping[str, Any]] = []
        self._by_key: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise ByTheWayError(f"{path} cannot be read: {error.strerror}.") from error
        for line in content.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue  # the last words of a killed process
            if isinstance(found, dict) and found.keys() >= _NAMES:
                self._add(found)

        self.before = len(self.lines)

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The line of a request."""
        return self._by_key.get(key)

    def _add(self, line: Mapping[str, Any]) -> None:
        self._by_key[line["key"]] = line
        self.lines.append(line)

    def append(self, line: Mapping[str, Any]) -> None:
        """Keep one more reply; it is on the disk when this returns. Threads may do so at once.

        Raises:
            ByTheWayError: the file cannot be written.
        """
        with self._lock:
            try:
                with self.path.open("ab+") as file:
                    if file.tell() and self._torn(file):
                        file.write(b"\n")
                    file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise ByTheWayError(f"{self.path} cannot be written: {error.strerror}.") from error
            self._add(line)

    @staticmethod
    def _torn(file: Any) -> bool:
        """Whether the last line has no end."""
        file.seek(-1, os.SEEK_END)
        return bool(file.read(1) != b"\n")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else asks for this folder while the block runs, for both would pay.

    Raises:
        ByTheWayError: somebody does.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / _LOCK, timeout=0):
            yield
    except Timeout:
        raise ByTheWayError(f"Another judge is at work in {folder}; wait until it has ended.") from None
