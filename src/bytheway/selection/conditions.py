"""Which fit holds for the clips of a job: the one of the very model, made with the same settings."""

from __future__ import annotations

from typing import Any, Final

from bytheway.diagnosis.fit import Fit
from bytheway.diagnosis.store import find_fit
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.job import Job
from bytheway.generation.run import settings_of

# The settings of a clip on which it depends how its first steps go with what becomes of it.
_CONDITIONS: Final = (
    "num_frames",
    "width",
    "height",
    "steps",
    "guidance_scale",
    "scheduler",
    "strength",
    "config",
    "dtype",
)


def conditions_of(pipe: VideoPipeline, job: Job) -> dict[str, Any]:
    """The settings of a job under which a fit holds, ready for JSON."""
    settings = settings_of(pipe, job, job.clips[0], 1)
    inputs = {"images": len(job.request.images), "video": job.video is not None}
    return {name: settings[name] for name in _CONDITIONS} | inputs


def fit_for(model: str, pipe: VideoPipeline, job: Job) -> Fit | None:
    """The fit of a model for the clips of a job; None where there is none.

    Args:
        model: its name, as the user gave it.
        pipe: the model itself.
        job: what is made with it.

    Raises:
        ByTheWayError: the file of the fit is damaged or another's.
    """
    return find_fit(model, pipe, conditions_of(pipe, job)) if job.profile.has_temporal_maps else None
