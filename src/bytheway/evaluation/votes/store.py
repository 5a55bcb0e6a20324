"""The study and its votes on disk, in SQLite: a vote that was acknowledged is there, once, whatever is killed.

The journal is a write-ahead log that is synced at every commit, so that several servers can be at work on one file.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.votes.order import Item, items_of
from bytheway.evaluation.votes.study import Study
from bytheway.evaluation.votes.vote import Vote

FOLDER: Final = "votes"
FILE: Final = "votes.sqlite"
CLIPS: Final = "clips"
MOST_PEOPLE: Final = 10_000
_PATIENCE: Final = 20.0  # seconds that a writer waits for another

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS study (
    one INTEGER PRIMARY KEY CHECK (one = 1), plan TEXT NOT NULL, secret TEXT NOT NULL, port INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS people (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS items (
    id TEXT PRIMARY KEY, person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE, place INTEGER NOT NULL,
    pair INTEGER NOT NULL, swapped INTEGER NOT NULL, repeat INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_of_person ON items (person, place);
CREATE TABLE IF NOT EXISTS votes (
    item TEXT NOT NULL REFERENCES items ON DELETE CASCADE, question TEXT NOT NULL, answer TEXT NOT NULL,
    watched REAL NOT NULL, loops INTEGER NOT NULL, replays INTEGER NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, at TEXT NOT NULL, PRIMARY KEY (item, question)) WITHOUT ROWID;
"""


class RefusedError(ByTheWayError):
    """A vote that cannot be: on another person's item, out of turn, or on what is finished."""


@dataclass(frozen=True)
class Shown:
    """An item with its random id and the answers that it has so far, by question."""

    id: str
    place: int
    item: Item
    answers: dict[str, str]


@dataclass(frozen=True)
class Ballot:
    """A vote with what it was cast on.

    Attributes:
        person: the number of the person.
        item: the pair as it was shown.
        place: when, among the items of the person.
        question: its name.
        answer: "left", "right", "tie" or "bad".
    """

    person: int
    item: Item
    place: int
    question: str
    answer: str

    @property
    def choice(self) -> str:
        """Which clip was preferred, whatever its side: "first" or "second"; else "tie" or "bad"."""
        if self.answer not in ("left", "right"):
            return self.answer
        return "first" if (self.answer == "left") != self.item.swapped else "second"


class Store:
    """The votes of one experiment. It can be used from several threads, and by several processes at once."""

    def __init__(self, run: Path) -> None:
        """Open the votes in the folder of an experiment; what is missing is made.

        Raises:
            ByTheWayError: the file cannot be opened, or is no such file.
        """
        self.folder: Final = run / FOLDER
        self.clips: Final = self.folder / CLIPS
        self._lock = threading.Lock()
        with _said(self.folder):
            self.clips.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.folder / FILE, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                for setting in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                    self._database.execute(f"PRAGMA {setting}")
                self._database.executescript(f"BEGIN IMMEDIATE;{_TABLES}COMMIT;")
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what the block writes; it is on disk when the block is left."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def study(self) -> Study | None:
        """The study, None where none was begun."""
        rows = self._rows("SELECT plan FROM study")
        return Study.from_json(rows[0][0]) if rows else None

    def study_or(self, make: Callable[[Path], Study]) -> Study:
        """The study that is there, else the one that `make` makes, whose clips it writes to the folder it is given.

        Another process that asks meanwhile waits, and gets the same.
        """
        with _said(self.folder), self._writing() as database:
            rows = database.execute("SELECT plan FROM study").fetchall()
            if rows:
                return Study.from_json(rows[0][0])
            for stray in self.clips.iterdir():  # of a process that was killed here
                stray.unlink()
            study = make(self.clips)
            database.execute("INSERT INTO study VALUES (1, ?, ?, 0, 0)", (study.to_json(), secrets.token_urlsafe(16)))
            return study

    def secret(self) -> str:
        """What the link of a shared study holds; it stays the same."""
        return str(self._rows("SELECT secret FROM study")[0][0])

    def last_port(self) -> int:
        """The port of the last server, 0 where there was none: pages that are open know it."""
        return int(self._rows("SELECT port FROM study")[0][0])

    def remember_port(self, port: int) -> None:
        """Keep the port for the next server."""
        with self._writing() as database:
            database.execute("UPDATE study SET port = ?", (port,))

    def join(self, study: Study) -> str:
        """A new person, by a random id, for whom the items are drawn.

        Raises:
            RefusedError: there are too many.
        """
        identity = secrets.token_urlsafe(16)
        with self._writing() as database:
            person = database.execute("INSERT INTO people (id) VALUES (?)", (identity,)).lastrowid
            assert person is not None
            if person > MOST_PEOPLE:
                raise RefusedError("The study has as many people as it can have; thank you for coming.")
            database.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (secrets.token_urlsafe(12), person, place, item.pair, item.swapped, item.repeat)
                    for place, item in enumerate(items_of(study, person))
                ],
            )
        return identity

    def number_of(self, identity: str) -> int | None:
        """The number of the person with that random id; None where there is none, or none any more."""
        rows = self._rows("SELECT number FROM people WHERE id = ?", identity)
        return int(rows[0][0]) if rows else None

    def open_items(self, person: int, study: Study) -> list[Shown]:
        """The items that a person has not answered in full: the one whose turn it is, and the one after it."""
        with self._lock:
            return self._open_items(person, study)

    def _open_items(self, person: int, study: Study) -> list[Shown]:
        rows = self._database.execute(
            "SELECT id, place, pair, swapped, repeat FROM items WHERE person = ?"
            " AND (SELECT count(*) FROM votes WHERE item = items.id) < ? ORDER BY place LIMIT 2",
            (person, len(study.questions)),
        ).fetchall()
        return [
            Shown(key, place, Item(pair, bool(swapped), bool(repeat)), self._answers(key))
            for key, place, pair, swapped, repeat in rows
        ]

    def _answers(self, item: str) -> dict[str, str]:
        return dict(self._database.execute("SELECT question, answer FROM votes WHERE item = ?", (item,)).fetchall())

    def vote(self, person: int, vote: Vote, study: Study) -> None:
        """Put a vote on disk. Sent again it changes nothing; an answer can be changed while the item has its turn.

        Raises:
            RefusedError: the item is not the person's, or not its turn, or finished with another answer.
        """
        with self._writing() as database:
            if not database.execute("SELECT 1 FROM items WHERE id = ? AND person = ?", (vote.item, person)).fetchall():
                raise RefusedError("There is no such pair among yours; load the page again.")
            if self._answers(vote.item).get(vote.question) == vote.answer:
                return
            turn = self._open_items(person, study)
            if not turn or turn[0].id != vote.item:
                raise RefusedError("It is not this pair's turn; load the page again.")
            values = (vote.watched, vote.loops, vote.replays, *vote.screen, datetime.now(UTC).isoformat("T", "seconds"))
            database.execute(
                "INSERT OR REPLACE INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (vote.item, vote.question, vote.answer, *values),
            )

    def withdraw(self, person: int) -> None:
        """Delete a person, with all votes, for good: what is deleted is overwritten. That somebody withdrew is kept."""
        with self._writing() as database:
            database.execute("DELETE FROM people WHERE number = ?", (person,))
            database.execute("UPDATE study SET withdrawn = withdrawn + 1")
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def withdrawn(self) -> int:
        """How many people withdrew."""
        return int(self._rows("SELECT withdrawn FROM study")[0][0])

    def people(self) -> int:
        """How many people there are, whether they voted or not."""
        return int(self._rows("SELECT count(*) FROM people")[0][0])

    def ballots(self) -> list[Ballot]:
        """All votes, person by person, in the order of their items."""
        rows = self._rows(
            "SELECT person, pair, swapped, repeat, place, question, answer FROM votes JOIN items ON id = item"
            " ORDER BY person, place, question"
        )
        return [
            Ballot(person, Item(pair, bool(swapped), bool(repeat)), place, question, answer)
            for person, pair, swapped, repeat, place, question, answer in rows
        ]


@contextmanager
def opened(run: Path) -> Iterator[Store]:
    """The store of an experiment, closed at the end.

    Raises:
        ByTheWayError: the file cannot be opened, or is no such file.
    """
    with closing(Store(run)) as store:
        yield store


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    """What SQLite and the file system refuse, in a sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ByTheWayError(f"Another command is at work on {folder}; try again in a minute.") from error
        raise ByTheWayError(f"{folder / FILE} cannot be opened: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise ByTheWayError(f"{folder / FILE} is damaged: {error}; put back a copy of it.") from error
    except OSError as error:
        raise ByTheWayError(f"{folder} cannot be written: {error.strerror}.") from error
