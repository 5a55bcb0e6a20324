"""Votes on one's own clips: a user study of the pairs of the history, on the page of `bytheway vote`."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Lock
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import parse_arms
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.votes.http import App
from bytheway.evaluation.votes.prepare import Wanted, prepare
from bytheway.evaluation.votes.server import app_of
from bytheway.evaluation.votes.store import Store
from bytheway.evaluation.votes.study import Study
from bytheway.studio.history import VANILLA, Entry, History

FOLDER: Final = "judged"
_ARMS: Final = "vanilla,enhanced"


class Judging:
    """The user study that is voted on, the latest one of the history's folder."""

    def __init__(self, history: History) -> None:
        self._history, self._folder = history, history.folder / FOLDER
        self._lock, self._drawing = Lock(), Lock()  # every request has to have the first, which is not held for long
        self._drawn_now: Path | None = None
        self._left_out: set[str] = set()  # folders of studies that cannot be opened
        self._open: tuple[Store, Study, App] | None = None

    def app(self, path: str) -> App | None:
        """The voting page, where a path of the studio leads to it: below the secret of the study."""
        opened = self._opened()
        return opened[2] if opened is not None and path.startswith(f"/{opened[0].secret()}/") else None

    def begin(self) -> None:
        """Begin a study of the pairs that are in the history now, in place of the one before, whose votes are kept.

        Raises:
            ByTheWayError: there is no pair.
        """
        pairs = self._pairs()
        if not pairs:
            raise ByTheWayError("There is no pair to vote on; make a clip with the method and without it.")
        with self._drawing:
            run = self._folder / time.strftime("%Y%m%d-%H%M%S")
            self._drawn_now = run
            try:
                with closing(Store(run)) as store:
                    store.study_or(lambda folder: _drawn(pairs, folder))
            except BaseException:
                shutil.rmtree(run, ignore_errors=True)
                raise
            finally:
                self._drawn_now = None
            self.close()
        self._opened()

    def told(self) -> dict[str, Any]:
        """How many pairs there are, where the voting page is, and what the votes tell, ready for JSON."""
        with self._lock:
            self._left_out.clear()  # it may have been mended
        opened = self._opened()
        pairs = len(self._pairs())
        missing = [
            f"The study {name} cannot be opened and is left out; mend or remove it in the folder {FOLDER}."
            for name in sorted(self._left_out)
        ]
        if opened is None:
            return {"pairs": pairs, "page": None, "said": missing}
        from bytheway.evaluation.votes.results import results_of
        from bytheway.evaluation.votes.words import conduct_sentences, heads, rows, verdicts

        store, study, _ = opened
        found = {"pairs": pairs, "page": f"{store.secret()}/", "votes": len(store.ballots()), "of": len(study.pairs)}
        if not found["votes"]:
            return {**found, "said": missing}
        results = results_of(store, study)
        both = study.pairs[0].arms
        said = [*missing, *verdicts(results), *conduct_sentences(results, study)]
        return {**found, "heads": heads(both), "rows": rows(results, both), "said": said}

    def close(self) -> None:
        """Let go of the votes."""
        with self._lock:
            if self._open is not None:
                self._open[0].close()
            self._open = None

    def _opened(self) -> tuple[Store, Study, App] | None:
        with self._lock:
            if self._open is None:
                runs = sorted(self._folder.iterdir(), reverse=True) if self._folder.is_dir() else []
                those = (run for run in runs if run.is_dir() and run.name not in self._left_out)
                self._open = next(filter(None, (self._open_run(run) for run in those if run != self._drawn_now)), None)
            return self._open

    def _open_run(self, run: Path) -> tuple[Store, Study, App] | None:
        with ExitStack() as opened:
            try:
                store = opened.enter_context(closing(Store(run)))
                study = store.study()
                if study is None:
                    return None
                found = store, study, app_of(store, study, store.secret())
            except Exception:  # a damaged file answers with anything, and the studies before it are still there
                self._left_out.add(run.name)
                return None
            opened.pop_all()
            return found

    def _pairs(self) -> list[tuple[Entry, Entry]]:
        """Vanilla and enhanced, oldest first."""
        clips = {entry.name: entry for entry in reversed(self._history.entries())}
        return [
            (clips[entry.partner], entry)
            for name, entry in clips.items()
            if entry.partner in clips and not name.endswith(VANILLA)
        ]


def _drawn(pairs: list[tuple[Entry, Entry]], folder: Path) -> Study:
    """A study of pairs, which writes its blind clips to a folder."""
    by_prompt: dict[str, list[tuple[Entry, Entry]]] = defaultdict(list)
    for pair in pairs:
        by_prompt[str(pair[0].settings.get("prompt", ""))].append(pair)
    seeds = max(map(len, by_prompt.values()))
    with tempfile.TemporaryDirectory(prefix="bytheway-") as scratch:
        experiment = Experiment(Path(scratch), parse_arms(_ARMS), tuple(by_prompt), seeds)
        for side, arm in enumerate(experiment.arms):
            files = experiment.clips(arm)
            for number, its in enumerate(by_prompt.values()):
                for place, pair in enumerate(its):
                    file = files[number * seeds + place]
                    file.parent.mkdir(exist_ok=True)
                    file.symlink_to(pair[side].path)
        seed = secrets.randbelow(2**32)
        try:
            return prepare(experiment, folder, Wanted(), seed)[0]
        except ByTheWayError as error:
            if error.setting != "checks":  # no clip moves enough for an attention check
                raise
            for file in folder.iterdir():
                file.unlink()
            return prepare(experiment, folder, Wanted(checks=0), seed)[0]
