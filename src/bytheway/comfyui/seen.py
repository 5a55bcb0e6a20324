"""What was recorded of a clip, and what else its diagnosis goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bytheway.diagnosis.curves import Curves, curves_of
from bytheway.diagnosis.fit import Fit
from bytheway.diagnosis.schedule import ActiveNoise, active_noise
from bytheway.errors import ByTheWayError
from bytheway.generation.job import Job
from bytheway.record import Record
from bytheway.selection.best import steps_before_choice


class Seen(NamedTuple):
    """What `bytheway.diagnosis.findings.diagnose` goes by.

    Attributes:
        curves: of the active steps.
        num_frames: F, of the maps.
        least_beta: that of the config; None where the method was off.
        noise: of the active steps.
        fit: of the model under the same settings.
    """

    curves: Curves
    num_frames: int
    least_beta: float | None
    noise: ActiveNoise | None
    fit: Fit | None


class Recording(Protocol):
    """A RECORD as it goes from node to node."""

    @property
    def record(self) -> Record:
        """What was measured."""

    def seen(self) -> Seen:
        """The same with what a diagnosis goes by."""


@dataclass(frozen=True, eq=False)
class RecordedClip:
    """The record of a clip of the package's own pipelines.

    Attributes:
        record: what was measured; empty where nothing was.
        job: by which the clip was made.
        scheduler: with which.
        fit: of the model under these settings; None where there is none.
    """

    record: Record
    job: Job
    scheduler: Any
    fit: Fit | None

    def seen(self) -> Seen:
        """See `Recording`; where the method was off more steps are recorded than would be active."""
        job, profile = self.job, self.job.profile
        curves = curves_of(self.record).first(steps_before_choice(job))
        size = job.width // profile.pixels_per_latent, job.height // profile.pixels_per_latent
        config = job.request.config
        return Seen(
            curves,
            profile.latent_frames(job.num_frames),
            None if config is None else config.beta,
            active_noise(self.scheduler, curves.timesteps, size),
            self.fit,
        )


def required(recorded: Recording | None) -> Recording:
    """A RECORD in which something was measured.

    Args:
        recorded: None where 'record' was off.

    Raises:
        ByTheWayError: nothing was.
    """
    if recorded is None or not recorded.record:
        raise ByTheWayError(
            "Nothing was recorded; turn 'record' on, connect 'after' with the sampler's output, and let the method act "
            "in at least one step."
        )
    return recorded
