"""What a driver writes beside the clips: its share of the manifest, and the tasks that could not be made.

    OUT/manifest/<id>.parquet                 up to a thousand clips each
    OUT/failures/<shard>-<id>.jsonl           tasks that were set aside, with their error

Nothing here is needed to go on: what is there is told by the clips themselves, and rows that a killed driver did not
write are read from them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from bytheway.batch.maker import row_at
from bytheway.batch.plan import Shard, Task
from bytheway.batch.store import Store
from bytheway.errors import ByTheWayError
from bytheway.evaluation import manifest

MANIFEST: Final = "manifest"
FAILURES: Final = "failures"
_AT_ONCE: Final = 1000  # rows of a file


class Journal:
    """Takes rows and failures, and writes them by the thousand and at its end.

    Args:
        store: where the clips are.
        shard: of the plan that this driver works on; the failures of its earlier runs are removed.

    Attributes:
        has_manifest: whether there will be one; it needs pyarrow.
    """

    def __init__(self, store: Store, shard: Shard) -> None:
        self._store = store
        self._label = f"{shard.index}-of-{shard.count}"
        self.has_manifest = manifest.is_installed()
        self._rows: list[dict[str, Any]] = []
        self._failures: list[str] = []

    def __enter__(self) -> Self:
        for name in list(self._store.names(FAILURES)):
            if name.startswith(f"{FAILURES}/{self._label}-"):
                self._store.remove(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_rows()
        self._write_failures()

    def made(self, row: dict[str, Any]) -> None:
        """A clip is there."""
        if self.has_manifest:
            self._rows.append(row)
            if len(self._rows) == _AT_ONCE:
                self._write_rows()

    def failed(self, task: Task, attempts: int, said: str) -> None:
        """A task is set aside."""
        line = {"id": task.id, "error": said, "attempts": attempts, **asdict(task)}
        self._failures.append(json.dumps(line) + "\n")
        if len(self._failures) == _AT_ONCE:
            self._write_failures()

    def lacking(self, names: Iterator[str]) -> Iterator[str]:
        """Those of some clips that are there which no manifest names: a killed driver has made them."""
        if not self.has_manifest:
            return
        named: set[str] = set()
        for part in list(self._store.names(MANIFEST)):
            with self._store.local(part) as file:
                named.update(row["path"] for row in manifest.read_rows(file, ("path",)))
        yield from (name for name in names if name not in named)

    def read_again(self, names: Iterator[str], on_damaged: Callable[[str], None]) -> None:
        """Write rows of clips that are there; `on_damaged` hears of those that cannot be read."""
        for name in self.lacking(names):
            try:
                self.made(row_at(self._store, name))
            except ByTheWayError as error:
                on_damaged(str(error))

    def _write_rows(self) -> None:
        if self._rows:
            with tempfile.TemporaryDirectory(prefix="bytheway-") as folder:
                file = Path(folder) / "rows.parquet"
                manifest.write_rows(self._rows, file)
                self._store.put(file, f"{MANIFEST}/{uuid4().hex}{manifest.ENDING}")
            self._rows.clear()

    def _write_failures(self) -> None:
        if self._failures:
            with tempfile.TemporaryDirectory(prefix="bytheway-") as folder:
                file = Path(folder) / "failures.jsonl"
                file.write_text("".join(self._failures), encoding="utf-8")
                self._store.put(file, f"{FAILURES}/{self._label}-{uuid4().hex}.jsonl")
            self._failures.clear()
