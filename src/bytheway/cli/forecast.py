"""What `bytheway generate` says of a clip while it is made, where there is a fit of the model."""

from __future__ import annotations

from dataclasses import replace

from bytheway.cli.tables import note, warn
from bytheway.diagnosis.fit import Fit
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.job import Job
from bytheway.generation.sample import Step
from bytheway.selection.conditions import fit_for
from bytheway.selection.forecast import forecast_of


def fit_at_hand(model: str, pipe: VideoPipeline, job: Job) -> Fit | None:
    """The fit of a model for the clips of a job; where its file is not right, that is said, and there is none."""
    try:
        return fit_for(model, pipe, job)
    except ByTheWayError as error:
        warn(str(error))
        return None


class Forecast:
    """Says after the active steps of every clip whether it is likely near-static (`on_step` of `bytheway.generate`)."""

    def __init__(self, fit: Fit, clips: int) -> None:
        self._fit, self._clips = fit, clips

    def __call__(self, step: Step) -> None:
        """Look at one more step."""
        said = forecast_of(step, self._fit)
        if said is not None:
            clip = "" if self._clips == 1 else f"clip {step.clips[0].index + 1}/{self._clips}: "
            note(f"{clip}{said}")


def job_with_forecast(job: Job, fit: Fit | None) -> Job:
    """The job, recorded where a fit can tell something of its clips and they are made one by one."""
    request = job.request
    tells = fit is not None and "near_static" in fit.predictors
    if not tells or request.config is None or request.batch_size > 1:
        return job
    return replace(job, request=replace(request, record=True))
