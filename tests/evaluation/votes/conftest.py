"""An experiment, and a study of it, made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bytheway.evaluation.experiment.folder import open_experiment
from bytheway.evaluation.votes.prepare import Wanted, prepare
from bytheway.evaluation.votes.store import Shown, Store, opened
from bytheway.evaluation.votes.study import Study
from bytheway.evaluation.votes.vote import Vote
from tests.toys.experiments import make_experiment


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an experiment of six prompts and two arms, on which nobody has voted."""
    return make_experiment(tmp_path_factory.mktemp("votes") / "run").folder


@pytest.fixture(scope="session")
def begun(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a study of six pairs, one check and one repeat."""
    folder = tmp_path_factory.mktemp("votes") / "run"
    shutil.copytree(made, folder)
    with opened(folder) as store:
        store.study_or(lambda clips: prepare(open_experiment(folder), clips, Wanted(), 0)[0])
    return folder


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


@pytest.fixture
def store(run: Path) -> Iterator[Store]:
    with opened(run) as store:
        yield store


@pytest.fixture
def study(store: Store) -> Study:
    study = store.study()
    assert study is not None
    return study


@pytest.fixture
def vote_on() -> Callable[..., Vote]:
    """A vote on an item that is shown."""

    def vote(shown: Shown, question: str = "video_quality", answer: str = "left") -> Vote:
        return Vote(shown.id, question, answer, 1.5, 3, 0, (1440, 900))

    return vote


@pytest.fixture
def vote_through(store: Store, study: Study) -> Callable[..., int]:
    """Lets a new person vote on everything; `answer` says what, of a pair, how it is shown, and a question."""
    store._rows("PRAGMA synchronous = OFF")  # hundreds of votes, of which none has to outlive a machine

    def voted(answer: Callable[..., str], most: int = 1000) -> int:
        person = store.number_of(store.join(study))
        assert person is not None
        for _ in range(min(most, study.items_each)):
            shown = store.open_items(person, study)[0]
            for question in study.questions:
                said = answer(study.all_pairs[shown.item.pair], shown.item, question)
                if said in ("first", "second"):
                    said = "left" if (said == "first") != shown.item.swapped else "right"
                store.vote(person, Vote(shown.id, question, said, 1.5, 3, 0, (1440, 900)), study)
        return person

    return voted
