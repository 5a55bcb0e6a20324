"""The clips of an experiment that are not there yet, made arm by arm for each prompt, so that pairs are whole early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import Arm
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.existing import first_difference, settings_at
from bytheway.generation.job import Job, PlannedClip, check
from bytheway.generation.request import Request
from bytheway.generation.run import make_clips, settings_of
from bytheway.generation.sample import Step
from bytheway.models.profile import Profile


@dataclass(frozen=True, eq=False)
class Missing:
    """Clips of one arm that are made at once.

    Attributes:
        arm: theirs.
        job: of all clips of the arm.
        clips: these.
        paths: where they go.
    """

    arm: Arm
    job: Job
    clips: tuple[PlannedClip, ...]
    paths: tuple[Path, ...]

    @property
    def steps(self) -> int:
        """Denoising steps of all of them."""
        return len(self.clips) * self.job.steps_run * (self.job.free_init_iterations or 1)


def jobs_of(arms: tuple[Arm, ...], request: Request, profile: Profile) -> dict[Arm, Job]:
    """A checked job for each arm.

    Args:
        arms: of the experiment.
        request: what all of them have in common: prompts, seeds, sampling.
        profile: of the pipeline.

    Raises:
        ByTheWayError: the pipeline cannot do what an arm asks for.
    """
    preset = profile.preset.config
    return {arm: check(replace(request, config=arm.config(preset), free_init=arm.free_init), profile) for arm in arms}


def missing(
    pipe: VideoPipeline, experiment: Experiment, jobs: Mapping[Arm, Job], model: Mapping[str, Any]
) -> list[Missing]:
    """What is still to be made, in the order in which it is.

    Args:
        pipe: the model.
        experiment: where the clips go.
        jobs: by arm.
        model: what clips say of their model.

    Raises:
        ByTheWayError: a file is there that is none of these clips.
    """
    found = []
    first = next(iter(jobs.values()))
    size = first.request.batch_size
    places = {arm: experiment.clips(arm) for arm in jobs}
    for begin in range(0, len(first.clips), size):
        for arm, job in jobs.items():
            few = [
                (clip, places[arm][clip.index])
                for clip in job.clips[begin : begin + size]
                if not is_there(places[arm][clip.index], {**model, **settings_of(pipe, job, clip, 1)})
            ]
            if few:
                found.append(Missing(arm, job, tuple(clip for clip, _ in few), tuple(path for _, path in few)))
    return found


def make(
    pipe: VideoPipeline, chunk: Missing, model: Mapping[str, Any], on_step: Callable[[Step], None]
) -> Iterator[Path]:
    """Make clips and save each; gives where it is."""
    clips = make_clips(pipe, replace(chunk.job, clips=chunk.clips), on_step)
    for path, clip in zip(chunk.paths, clips, strict=True):
        yield replace(clip, settings={**model, **clip.settings}).save(path)


def is_there(path: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether a clip is there that was made with these settings.

    Raises:
        ByTheWayError: a file is there that is none.
    """
    if not path.exists():
        return False
    there = settings_at(path)
    name = first_difference(there, wanted)
    if name is None:
        return True
    was = (
        f"was made with {name} {there[name]}, not {wanted[name]}" if name in there else "is no clip of this experiment"
    )
    raise ByTheWayError(f"{path} {was}; remove it, or give another folder.")
