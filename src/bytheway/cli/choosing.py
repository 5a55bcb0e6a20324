"""What `bytheway generate --best-of` does: begin several seeds, say what is predicted of each, finish the best."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from bytheway.cli.best_of import BestOf
from bytheway.cli.progress import CountProgress
from bytheway.cli.tables import note, print_table
from bytheway.diagnosis.fit import Fit
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job, PlannedClip
from bytheway.generation.sample import Step
from bytheway.selection.best import Choice, check_choice, make_best, steps_before_choice, steps_of_all
from bytheway.selection.words import remarks_on, table_of


def best_clips(pipe: VideoPipeline, job: Job, best: BestOf, fit: Fit | None, model: str) -> Generator[tuple[int, Clip]]:
    """The clips that are kept, numbered prompt by prompt; the choice among the seeds of each is printed as a table."""
    check_choice(pipe, job, best.keep, best.aim)
    before = steps_before_choice(job)

    def say(choice: Choice) -> None:
        for candidate in choice.candidates:
            steps.made(candidate.clip, before)
        _print_choice(choice, before, fit, model)

    with (
        _Steps(steps_of_all(job, best.keep)).shown() as steps,
        closing(make_best(pipe, job, best.keep, best.aim, fit, steps.take, say)) as clips,
    ):
        yield from enumerate(clips)


class _Steps:
    """The steps of all clips, of which some wait while others go on."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, dict[int, int]()
        self._bar = CountProgress("denoising", total)

    @contextmanager
    def shown(self) -> Iterator[_Steps]:
        with self._bar:
            yield self

    def take(self, step: Step) -> None:
        clip = step.clips[0]
        self.made(clip, step.done)
        self._bar.begin(f"seed {clip.seed}: {clip.prompt}")
        self._bar.reach(sum(self._done.values()), self._total)

    def made(self, clip: PlannedClip, steps: int) -> None:
        """So many steps of a clip are made; the last one before it waits is not told."""
        self._done[clip.index] = steps


def _print_choice(choice: Choice, steps: int, fit: Fit | None, model: str) -> None:
    heading, *rows = table_of(choice, steps)
    print_table(heading, rows)
    for remark in remarks_on(choice, fit, model):
        note(remark)
