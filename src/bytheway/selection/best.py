"""The best of N seeds: all N begin, and after the active steps the k that promise most go on::

for clip in best_of(load("diorama"), "a red ball rolling to the right on grass", 4, aim="motion"):
    clip.save("ball.mp4")

With a fifth of the steps active that costs about 0.2 N + 0.8 k runs, and the memory of N clips' latents. A clip that is
kept is bit for bit the one that its seed gives alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeAlias

from bytheway.apply.steps import count_active
from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.fit import Fit
from bytheway.diagnosis.prediction import Prediction, predict
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job, PlannedClip
from bytheway.generation.paused import PausedRun, check_can_wait
from bytheway.generation.request import Request
from bytheway.generation.run import OnStep, job_of
from bytheway.generation.sample import Glimpse
from bytheway.selection.aim import AIMS, Aim
from bytheway.selection.latents import predict_by_latents


@dataclass(frozen=True)
class Candidate:
    """A clip that was begun.

    Attributes:
        clip: which one.
        prediction: what its first steps tell of it.
        place: 1 for the most promising.
        kept: whether it goes on.
    """

    clip: PlannedClip
    prediction: Prediction
    place: int
    kept: bool


@dataclass(frozen=True)
class Choice:
    """What was chosen among the clips of one prompt.

    Attributes:
        prompt: theirs.
        aim: what was chosen by.
        candidates: in the order of their seeds.
    """

    prompt: str
    aim: Aim
    candidates: tuple[Candidate, ...]


OnChoice: TypeAlias = Callable[[Choice], None]


def best_of(
    pipe: VideoPipeline,
    request: Request | str | Sequence[str],
    seeds: int,
    *,
    keep: int = 1,
    aim: Aim = "both",
    fit: Fit | None = None,
    on_step: OnStep | None = None,
    on_choice: OnChoice | None = None,
    **settings: Any,
) -> Iterator[Clip]:
    """Begin several clips of every prompt, and finish the most promising.

    Args:
        pipe, request, on_step, settings: see `bytheway.generate`; of each prompt the seeds from `seed` on are begun.
        seeds: how many are begun of each prompt, N.
        keep: how many of them are finished, k.
        aim: by what they are chosen; for "both" the sum of the two ranks counts.
        fit: of the very model and settings, such as `diagnosis.store.find_fit` finds; None: the paper's plain rule,
            energy for motion and disparity for structure, or what the predicted latents tell where there are no maps.
        on_choice: hears what was chosen, prompt by prompt, before the clips are finished.

    Returns:
        the clips that are kept, prompt by prompt, the most promising first.

    Raises:
        ByTheWayError: the request cannot be met, or its clips cannot be chosen among.
    """
    if isinstance(request, Request):
        request = replace(request, num_videos=seeds)
    else:
        settings["num_videos"] = seeds
    job = job_of(pipe, request, **settings)
    check_choice(pipe, job, keep, aim)
    return make_best(pipe, job, keep, aim, fit, on_step, on_choice)


def check_choice(pipe: VideoPipeline, job: Job, keep: int, aim: Aim) -> None:
    """Raise ByTheWayError where the clips of a job cannot be begun, chosen among and finished."""
    request, seeds = job.request, job.request.num_videos
    if not 1 <= keep < seeds:
        raise ByTheWayError(f"{keep} of {seeds} seeds are to be kept; keep at least one, and fewer than are begun.")
    if aim not in AIMS:
        raise ByTheWayError(f"aim is {aim!r}; it must be one of {', '.join(AIMS)}.")
    if request.compare:
        raise ByTheWayError(
            "Seeds are chosen among without a comparison; make that with the seed of a clip that was kept."
        )
    if request.batch_size > 1:
        raise ByTheWayError(
            "Clips that are chosen among are made one by one, so that each is the one of its seed alone; leave the "
            "batch size out.",
            setting="batch_size",
        )
    if not steps_before_choice(job):
        raise ByTheWayError("There are no active steps to choose after; give active_steps more than 0.")
    if aim != "motion" and job.profile.has_temporal_maps and not has_disparity(job):
        raise ByTheWayError(
            f"This model ({job.profile.pipeline}) has no anchor block whose disparity would tell of structure; aim at "
            "motion."
        )
    check_can_wait(pipe, job)


def steps_before_choice(job: Job) -> int:
    """How many steps of each clip are made before any is chosen: the active ones, without the method the preset's."""
    return count_active((job.request.config or job.profile.preset.config).active_steps, job.steps_run)


def steps_of_all(job: Job, keep: int) -> int:
    """How many steps are made of all clips of a job, of which `keep` of each prompt are finished."""
    before, seeds = steps_before_choice(job), job.request.num_videos
    return len(job.request.prompts) * (seeds * before + keep * (job.steps_run - before))


def has_disparity(job: Job) -> bool:
    """Whether the maps of a model have an anchor that they can part from."""
    return bool(getattr(job.profile.family.attentions, "has_levels", False))


def make_best(
    pipe: VideoPipeline,
    job: Job,
    keep: int,
    aim: Aim,
    fit: Fit | None = None,
    on_step: OnStep | None = None,
    on_choice: OnChoice | None = None,
) -> Generator[Clip]:
    """Begin all clips of a job that `check_choice` has passed, and finish `keep` of each prompt; see `best_of`."""
    if job.profile.has_temporal_maps:
        job = replace(job, request=replace(job.request, record=True))
    for _, clips in groupby(job.clips, key=lambda clip: clip.index // job.request.num_videos):
        planned = tuple(clips)
        runs = [PausedRun(pipe, job, clip, on_step or (lambda step: None)) for clip in planned]
        try:
            choice = choose(planned, [_predicted(run.start(), job, fit) for run in runs], keep, aim)
            for candidate, run in zip(choice.candidates, runs, strict=True):
                if not candidate.kept:
                    run.stop()
            if on_choice is not None:
                on_choice(choice)
            for candidate, run in sorted(zip(choice.candidates, runs, strict=True), key=lambda pair: pair[0].place):
                if candidate.kept:
                    yield run.finish()
        finally:
            for run in runs:
                run.stop()


def choose(clips: Sequence[PlannedClip], predictions: Sequence[Prediction], keep: int, aim: Aim) -> Choice:
    """Which clips go on: those with the highest rank by the aim; of equal ones those that come first."""
    ranks = [_ranks(_values(predictions, name)) for name in _wanted(aim)]
    totals = [sum(of_clip) for of_clip in zip(*ranks, strict=True)]
    order = sorted(range(len(clips)), key=lambda index: (totals[index], index))
    places = {index: place for place, index in enumerate(order, 1)}
    return Choice(
        clips[0].prompt,
        aim,
        tuple(
            Candidate(clip, prediction, places[index], places[index] <= keep)
            for index, (clip, prediction) in enumerate(zip(clips, predictions, strict=True))
        ),
    )


def _ranks(values: Sequence[float]) -> list[float]:
    """How many are better than each, of those that are as good a half."""
    return [sum((other > value) + (other == value) / 2 for other in values) for value in values]


def _predicted(glimpse: Glimpse, job: Job, fit: Fit | None) -> Prediction:
    if glimpse.record is None:
        return predict_by_latents(glimpse, job)
    return predict(curves_of(glimpse.record), fit)


def _wanted(aim: Aim) -> tuple[str, ...]:
    return ("motion", "structure") if aim == "both" else (aim,)


def _values(predictions: Sequence[Prediction], name: str) -> list[float]:
    values = [getattr(prediction, name) for prediction in predictions]
    if any(value is None for value in values):
        raise ByTheWayError("Nothing was recorded that would tell of structure; aim at motion.")
    return values
