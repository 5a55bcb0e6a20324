"""What `bytheway generate --best-of` does: begin several seeds, say what is predicted of each, finish the best."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from bytheway.cli.best_of import BestOf
from bytheway.cli.progress import CountProgress
from bytheway.cli.tables import note, print_table
from bytheway.diagnosis.fit import FEWEST_CLIPS, Fit
from bytheway.diagnosis.prediction import PLAIN_MOTION
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job
from bytheway.generation.sample import Step
from bytheway.selection.best import Choice, check_choice, make_best, steps_before_choice


def best_clips(pipe: VideoPipeline, job: Job, best: BestOf, fit: Fit | None, model: str) -> Generator[tuple[int, Clip]]:
    """The clips that are kept, numbered prompt by prompt; the choice among the seeds of each is printed as a table."""
    check_choice(pipe, job, best.keep, best.aim)
    before = steps_before_choice(job)
    each = best.seeds * before + best.keep * (job.steps_run - before)

    def say(choice: Choice) -> None:
        _print_choice(choice, before, fit, model)

    with (
        _Steps(each * len(job.request.prompts)).shown() as steps,
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
        self._done[clip.index] = step.done
        self._bar.begin(f"seed {clip.seed}: {clip.prompt}")
        self._bar.reach(sum(self._done.values()), self._total)


def _print_choice(choice: Choice, steps: int, fit: Fit | None, model: str) -> None:
    """A line for each seed that was begun: what is predicted of it, and whether it goes on, and why."""
    by = "motion and structure" if choice.aim == "both" else choice.aim
    first = choice.candidates[0].prediction
    rows = []
    for one in choice.candidates:
        seen = one.prediction
        numbers = [f"{seen.motion:.4g}", "-" if seen.structure is None else f"{seen.structure:.4g}"]
        chance = [] if seen.near_static is None else [f"{seen.near_static:.0%}"]
        why = f"place {one.place} by {by}" + ("" if one.kept else f", stopped after {steps} steps")
        rows.append((one.clip.seed, *numbers, *chance, "yes" if one.kept else "no", why))
    chance = [] if first.near_static is None else ["near-static"]
    print_table(("seed", "motion", "structure", *chance, "kept", "why"), rows)
    note(f"motion: {first.motion_by}; structure: {first.structure_by}")
    if fit is not None:
        note(f"By the fit of {model} on {fit.clips} clips.")
    elif first.motion_by == PLAIN_MOTION:
        note(
            f"Without a fit of {model} for these settings the numbers rank the seeds of a prompt, and no more; "
            f"bytheway inspect {model} --clips {FEWEST_CLIPS} fits its usual ones."
        )
