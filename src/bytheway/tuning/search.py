"""The search of a model's settings: Optuna proposes trials, they race over prompts, and a journal keeps what was told.

TPE proposes configs by the mean gains of those before (Bergstra et al., NeurIPS 2011; of several objectives Ozaki et
al., JAIR 2022). Optuna prunes no study of several objectives, so trials are dropped here: `racing.falls_behind`
after the first prompts. What a dropped one gained so far is told as well, for TPE is to learn from it; the front does
without it.

Any number of processes may search in one folder, also on several machines that share it. Each trial is locked by
the process that is at it; a lock that nobody holds any more tells that its process has died, and the trial is begun
again by another, whose evaluation finds what was made of it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.tuning.racing import Trial, Values, falls_behind, rungs
from bytheway.tuning.space import Space

try:
    import optuna
    from filelock import FileLock, Timeout
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState
except ImportError as error:
    raise ByTheWayError("A search needs Optuna and filelock; install them (pip install optuna filelock).") from error

JOURNAL: Final = "journal.log"
STARTUP: Final = 8
"""Trials that are drawn at random before TPE proposes any."""
MOST_FAILURES: Final = 8
"""In a row; then it is not the configs that are at fault."""
_LOCKS: Final = "locks"
_NO_CLIP: Final = "no clip"
_STUDY: Final = "settings"


class NoClipError(ByTheWayError):
    """A config makes no clip that can be measured, such as one whose pixels are not finite."""


class Evaluate(Protocol):
    """What a config makes of a prompt."""

    def __call__(self, config: ByTheWayConfig | None, prompt: int) -> Sequence[float]:
        """The objectives of the clip of a prompt, signed so that more is better; None: of its vanilla clip.

        What was made before is found again, whoever made it.

        Raises:
            NoClipError: there is none; the search goes on without the config.
        """


@dataclass(frozen=True)
class Search:
    """A search in a folder.

    Attributes:
        folder: of the journal, and the locks.
        space: among which configs.
        objectives: their names.
        prompts: how many there are to search by.
        evaluate: of the prompts with the numbers 0 to `prompts` - 1.
        starts: configs that are tried before others.
        seed: of what is drawn.
    """

    folder: Path
    space: Space
    objectives: tuple[str, ...]
    prompts: int
    evaluate: Evaluate
    starts: tuple[ByTheWayConfig, ...] = ()
    seed: int = 0
    _study: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_study", _open_study(self.folder, len(self.objectives)))

    def run(
        self,
        is_over: Callable[[], bool],
        on_trial: Callable[[Trial, bool], None] = lambda one, whole: None,
        on_failure: Callable[[NoClipError], None] = lambda error: None,
    ) -> None:
        """Try trials until it is over; one that is not finished then is begun again by the next run.

        Args:
            is_over: asked before each clip of a trial.
            on_trial: hears of each that is finished, and whether it was tried on all prompts.
            on_failure: hears why a config is left out.

        Raises:
            ByTheWayError: several configs in a row make no clip.
        """
        vanilla = self.vanilla()
        failures = 0
        while not is_over():
            with self._asked() as asked:
                try:
                    trial = self._race(asked, vanilla, is_over)
                except NoClipError as error:
                    asked.set_user_attr(_NO_CLIP, str(error))
                    self._study.tell(asked, state=TrialState.FAIL)
                    failures += 1
                    if failures == MOST_FAILURES:
                        raise
                    on_failure(error)
                    continue
                failures = 0
                if trial is not None:
                    self._tell(asked, trial)
                    on_trial(trial, len(trial.gains) == self.prompts)

    def vanilla(self) -> Values:
        """The objectives of the vanilla clips, (prompts, objectives)."""
        return np.array([self.evaluate(None, prompt) for prompt in range(self.prompts)], dtype=float)

    def tried(self) -> list[Trial]:
        """Every trial that was finished by anybody, also those that were dropped."""
        finished = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [
            Trial(one.number, ByTheWayConfig.from_dict(one.user_attrs["config"]), np.array(one.user_attrs["gains"]))
            for one in finished
        ]

    def whole(self) -> list[Trial]:
        """Those that were tried on all prompts."""
        return [one for one in self.tried() if len(one.gains) == self.prompts]

    def _race(self, asked: optuna.Trial, vanilla: Values, is_over: Callable[[], bool]) -> Trial | None:
        """One trial, prompt by prompt, as far as it keeps up; None where it is over before."""
        config = self.space.suggest(asked)
        gains: list[Values] = []
        checks = rungs(self.prompts)
        for prompt in range(self.prompts):
            if is_over():
                return None
            gains.append(np.array(self.evaluate(config, prompt), dtype=float) - vanilla[prompt])
            if len(gains) in checks and falls_behind(np.array(gains), [one.gains for one in self.tried()]):
                break
        return Trial(asked.number, config, np.array(gains))

    def _tell(self, asked: optuna.Trial, trial: Trial) -> None:
        asked.set_user_attr("config", trial.config.to_dict())
        asked.set_user_attr("gains", trial.gains.tolist())
        self._study.tell(asked, trial.mean.tolist())

    @contextmanager
    def _asked(self) -> Iterator[optuna.Trial]:
        """What Optuna proposes next, which is this process's alone while the block runs."""
        with lock(self.folder, "asking"):
            trials = self._study.get_trials(deepcopy=False)
            if not trials:
                for config in self.starts:
                    self._study.enqueue_trial(self.space.place_of(config), skip_if_exists=True)
            self._take_over(one for one in trials if one.state == TrialState.RUNNING)
            # By how many were begun, so that no two are drawn alike, and a search that was killed goes on as it would.
            begun = [one for one in self._study.get_trials(deepcopy=False) if _counts(one)]
            self._study.sampler = _sampler(self.seed, len(begun))
            asked = self._study.ask()
            mine = lock(self.folder, str(asked.number))
            mine.acquire()
        try:
            yield asked
        finally:
            mine.release()

    def _take_over(self, running: Iterator[Any]) -> None:
        """Put in line again what processes have left that are no more."""
        for one in running:
            try:
                with lock(self.folder, str(one.number)).acquire(timeout=0):
                    self._study.tell(one.number, state=TrialState.FAIL)
                    self._study.enqueue_trial(one.params)
            except Timeout:
                continue


def _counts(trial: Any) -> bool:
    """Whether a trial was begun, and is not one that was put in line again."""
    return trial.state in (TrialState.COMPLETE, TrialState.RUNNING) or _NO_CLIP in trial.user_attrs


def lock(folder: Path, name: str) -> FileLock:
    """A lock that one process has at a time, and that goes with its process, however that ends."""
    (folder / _LOCKS).mkdir(parents=True, exist_ok=True)
    return FileLock(folder / _LOCKS / f"{name}.lock")


def _open_study(folder: Path, objectives: int) -> Any:
    """The study in the journal of a folder, made where there is none.

    Raises:
        ByTheWayError: the journal is damaged, or cannot be written.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    # Optuna's own lock is a file that a killed process leaves, for which others wait 30 seconds.
    journal, own = folder / JOURNAL, lock(folder, "journal")
    try:
        with own:
            _drop_torn_end(journal)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal), own))
        return optuna.create_study(
            study_name=_STUDY, storage=storage, directions=["maximize"] * objectives, load_if_exists=True
        )
    except OSError as error:
        raise ByTheWayError(f"{journal} cannot be written: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise ByTheWayError(f"{journal} is damaged or no journal of a search; give another folder.") from error


def _drop_torn_end(journal: Path) -> None:
    """Cut off a line that a killed process did not finish, which nobody could read."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())


def _sampler(seed: int, begun: int) -> optuna.samplers.TPESampler:
    drawn = int(np.random.SeedSequence((seed, begun)).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(n_startup_trials=STARTUP, multivariate=True, constant_liar=True, seed=drawn)
