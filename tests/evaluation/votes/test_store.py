"""Votes on disk: each once, nobody else's, gone when withdrawn, and safe with several at work."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.votes import store as module
from bytheway.evaluation.votes.store import FILE, RefusedError, Store, opened
from bytheway.evaluation.votes.study import Study
from bytheway.evaluation.votes.vote import Vote

VoteOn = Callable[..., Vote]


def person_of(store: Store, study: Study) -> int:
    person = store.number_of(store.join(study))
    assert person is not None
    return person


def rows(run: Path, query: str = "SELECT * FROM votes ORDER BY item, question") -> list[tuple[object, ...]]:
    """What is on disk, read by nobody's code but SQLite's."""
    with sqlite3.connect(f"file:{run / 'votes' / FILE}?mode=ro", uri=True) as database:
        return database.execute(query).fetchall()


def test_the_journal_is_a_log_that_is_synced(run: Path, store: Store) -> None:
    assert rows(run, "PRAGMA journal_mode") == [("wal",)]
    assert store._rows("PRAGMA synchronous") == [(2,)], "FULL: synced at every commit"


def test_a_vote_is_there_once_with_all_that_was_told(run: Path, store: Store, study: Study, vote_on: VoteOn) -> None:
    person = person_of(store, study)
    vote = vote_on(store.open_items(person, study)[0])
    for _ in range(3):
        store.vote(person, vote, study)
        store.vote(person, replace(vote, watched=99.0), study)
    (row,) = rows(run)
    assert row[:-1] == (vote.item, "video_quality", "left", 1.5, 3, 0, 1440, 900)
    assert store.open_items(person, study)[0].answers == {"video_quality": "left"}


def test_an_answer_can_be_changed_until_the_pair_is_finished(
    run: Path, store: Store, study: Study, vote_on: VoteOn
) -> None:
    person = person_of(store, study)
    first, after = store.open_items(person, study)
    store.vote(person, vote_on(first), study)
    store.vote(person, vote_on(first, answer="tie"), study)
    assert [row[2] for row in rows(run)] == ["tie"]
    for question in study.questions[1:]:
        store.vote(person, vote_on(first, question), study)
    assert store.open_items(person, study)[0].id == after.id
    store.vote(person, vote_on(first, answer="tie"), study)  # sent again
    with pytest.raises(RefusedError, match="not this pair's turn"):
        store.vote(person, vote_on(first, answer="bad"), study)
    assert [row[2] for row in rows(run) if row[1] == "video_quality"] == ["tie"]


def test_nobody_votes_on_others_items_or_out_of_turn(run: Path, store: Store, study: Study, vote_on: VoteOn) -> None:
    person, other = person_of(store, study), person_of(store, study)
    theirs, (mine, after) = store.open_items(other, study)[0], store.open_items(person, study)
    for shown in (theirs, replace(mine, id="unknown"), replace(mine, id="")):
        with pytest.raises(RefusedError, match="no such pair among yours"):
            store.vote(person, vote_on(shown), study)
    with pytest.raises(RefusedError, match="not this pair's turn"):
        store.vote(person, vote_on(after), study)
    assert rows(run) == []


def test_who_withdraws_leaves_nothing_behind(run: Path, store: Store, study: Study, vote_on: VoteOn) -> None:
    identity = store.join(study)
    gone, stays = store.number_of(identity), person_of(store, study)
    assert gone is not None
    items = store.open_items(gone, study)
    for person in (gone, stays):
        store.vote(person, vote_on(store.open_items(person, study)[0]), study)
    store.withdraw(gone)
    assert store.number_of(identity) is None
    assert [row[0] for row in rows(run, "SELECT DISTINCT person FROM items")] == [stays]
    assert len(rows(run)) == 1
    assert (store.people(), store.withdrawn()) == (1, 1)
    content = b"".join(path.read_bytes() for path in (run / "votes").glob(f"{FILE}*"))
    assert not [text for text in (identity, items[0].id, items[1].id) if text.encode() in content], "overwritten"
    assert person_of(store, study) == 3, "a number is never given twice"


def test_many_threads_and_two_processes_lose_nothing(run: Path, store: Store, study: Study, vote_on: VoteOn) -> None:
    """Two stores on one file stand for two servers: SQLite's locks are those of the file."""
    failures: list[BaseException] = []
    with opened(run) as other:

        def take_part(which: Store) -> None:
            try:
                person = person_of(which, study)
                for _ in range(3):
                    shown = which.open_items(person, study)[0]
                    for question in study.questions:
                        which.vote(person, vote_on(shown, question), study)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=take_part, args=((store, other)[k % 2],)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(rows(run)) == 8 * 3 * 3
    assert sorted(row[0] for row in rows(run, "SELECT number FROM people")) == list(range(1, 9))


def test_of_two_that_begin_a_study_one_makes_it(made: Path, tmp_path: Path, study: Study) -> None:
    calls = []

    def make(clips: Path) -> Study:
        calls.append(sorted(path.name for path in clips.iterdir()))
        (clips / "one.mp4").touch()
        return study

    (tmp_path / "votes" / "clips").mkdir(parents=True)
    (tmp_path / "votes" / "clips" / "stray.mp4").touch()
    with opened(tmp_path) as one, opened(tmp_path) as other:
        threads = [threading.Thread(target=store.study_or, args=(make,)) for store in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.study() == other.study() == study
        assert one.secret() == other.secret()
        assert len(one.secret()) >= 20
    assert calls == [[]], "made once, and what a killed one left is gone"


def test_a_study_whose_making_fails_has_not_begun(tmp_path: Path) -> None:
    def fail(clips: Path) -> Study:
        raise ByTheWayError("no clips")

    with opened(tmp_path) as store:
        with pytest.raises(ByTheWayError, match="no clips"):
            store.study_or(fail)
        assert store.study() is None


def test_what_cannot_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "votes").mkdir()
    (tmp_path / "votes" / FILE).write_bytes(b"no data base" * 100)
    with pytest.raises(ByTheWayError, match=r"votes.sqlite is damaged: file is not a database; put back a copy"):
        Store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ByTheWayError, match="cannot be written"):
        Store(tmp_path / "file")
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    with opened(tmp_path / "run"), sqlite3.connect(tmp_path / "run" / "votes" / FILE, isolation_level=None) as busy:
        busy.execute("BEGIN IMMEDIATE")
        with pytest.raises(ByTheWayError, match="Another command is at work"):
            Store(tmp_path / "run")
        busy.execute("ROLLBACK")


def test_a_study_has_room_for_so_many(store: Store, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PEOPLE", 2)
    person_of(store, study), person_of(store, study)
    with pytest.raises(RefusedError, match="as many people as it can have"):
        store.join(study)
    assert store.people() == 2
