"""What `bytheway vote` does with its options."""

from __future__ import annotations

import json
import secrets
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Final

import typer

from bytheway.cli.tables import note, print_table, printable, warn
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.manifest_clips import open_clips
from bytheway.evaluation.votes.prepare import Wanted, prepare
from bytheway.evaluation.votes.store import FILE, FOLDER, Store, opened
from bytheway.evaluation.votes.study import Study
from bytheway.files import write_text

RESULTS: Final = "results.json"


def serve_study(run: Path, wanted: Wanted, *, port: int, share: bool, browser: bool) -> None:
    """Begin the study, or go on with it, and serve its page until Ctrl-C."""
    from bytheway.evaluation.votes.http import LOOPBACK, listen, own_address, serve
    from bytheway.evaluation.votes.server import app_of

    experiment = open_clips(run)
    wanted.check()

    def make(folder: Path) -> Study:
        note("Preparing the clips")
        study, left_out = prepare(experiment, folder, wanted, secrets.randbelow(2**32))
        for sentence in left_out:
            warn(sentence)
        return study

    with opened(experiment.folder) as store:
        study = store.study_or(make)
        wanted.check_same(study)
        secret = store.secret() if share else None
        with listen(port, store.last_port(), share=share) as listener:
            number = listener.getsockname()[1]
            store.remember_port(number)
            address = f"http://{own_address() if share else LOOPBACK}:{number}/" + (f"{secret}/" if secret else "")
            note(
                f"Everybody is shown {study.items_each} pairs: {study.pairs_each} of {len(study.pairs)} to compare; "
                f"attention checks: {len(study.checks)}; repeats: {study.repeats_each}."
            )
            for rule in study.rules.sentences(bool(study.checks)):
                note(f"A person is left out by the rule {rule}.")
            if share:
                note("Whoever has the link can vote; it stays the same. Votes go over the network unencrypted.")
            note("Ctrl-C ends it; nothing is lost.")
            typer.echo(address)
            if browser:
                webbrowser.open(address)
            with suppress(KeyboardInterrupt):  # which is how it is meant to end
                serve(app_of(store, study, secret), listener)
            note(f"Ended. Votes stored: {len(store.ballots())}.")


def show_results(run: Path, wanted: Wanted) -> None:
    """Print what the votes tell, and write it beside them."""
    from bytheway.evaluation.votes.results import results_of
    from bytheway.evaluation.votes.words import conduct_sentences, heads, rows, strength_rows, verdicts

    folder = open_clips(run).folder
    if not (folder / FOLDER / FILE).is_file():
        raise ByTheWayError(f"Nobody has voted on {run} yet; begin with `bytheway vote {run}`.")
    with opened(folder) as store:
        study = _study(store, run)
        wanted.check_same(study)
        results = results_of(store, study)
    for both in dict.fromkeys(cell.arms for cell in results.cells):
        print_table(heads(both), rows(results, both))
    if results.strengths:
        arms = list(next(iter(results.strengths.values())))
        print_table((f"preferred to {study.pairs[0].arms[0]}", *arms), strength_rows(results))
    for sentence in (*verdicts(results), *conduct_sentences(results, study)):
        typer.echo(printable(sentence))
    place = folder / FOLDER / RESULTS
    told = {"rules": study.rules.sentences(bool(study.checks)), **results.to_dict()}
    write_text(place, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    note(f"{place} has all of it.")


def _study(store: Store, run: Path) -> Study:
    study = store.study()
    if study is None:
        raise ByTheWayError(f"Nobody has voted on {run} yet; begin with `bytheway vote {run}`.")
    return study
