"""Clips of a search: each made once, kept with its scores beside it, and told by the objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bytheway.clips.frames import NotFiniteError
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.experiment.arms import VANILLA, Arm
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.experiment.make import make, missing
from bytheway.evaluation.experiment.scoring import kept_or_measured
from bytheway.evaluation.measures.measure import Measure
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.job import Job, check
from bytheway.generation.request import Request
from bytheway.models.profile import Profile
from bytheway.tuning.objectives import Objective
from bytheway.tuning.search import NoClipError, lock

CLIPS: Final = "clips"


@dataclass(frozen=True)
class MeasuredClips:
    """Makes and measures the clips of a search; called, it gives the objectives of one.

    Attributes:
        folder: of the search.
        pipe, profile: the model.
        model: what clips say of it.
        request: prompts, seed and sampling; without a config.
        measures, choice: what is measured.
        objectives: of these.
        searched: how many of the prompts, the first, are searched by; the others are held out.
        on_clip: hears of each clip before it is made.
    """

    folder: Path
    pipe: VideoPipeline
    profile: Profile
    model: Mapping[str, Any]
    request: Request
    measures: Sequence[Measure]
    choice: MeasureChoice
    objectives: Sequence[Objective]
    searched: int
    on_clip: Callable[[str, str], None] = lambda arm, prompt: None

    def __call__(self, config: ByTheWayConfig | None, prompt: int) -> tuple[float, ...]:
        """The objectives of a clip, which is made unless it is there; see `search.Evaluate`."""
        arm = self._arm(config)
        experiment = Experiment(self.folder / CLIPS, (arm,), self.request.prompts, 1)
        # A candidate is one process's alone; vanilla clips are everybody's.
        with lock(self.folder, f"{VANILLA}-{prompt}") if config is None else nullcontext():
            self._make(experiment, arm, self._job(config), prompt)
            scores = kept_or_measured(experiment.clips(arm)[prompt], self.measures, self.choice)
        return tuple(one.of(scores) for one in self.objectives)

    def spent(self) -> int:
        """How many clips of the prompts to search by there are, whoever made them."""
        names = Experiment(self.folder, (), self.request.prompts, 1).names()[: self.searched]
        counted = {f"{name}.mp4" for name in names}
        return sum(path.name in counted for path in (self.folder / CLIPS).glob("*/*.mp4"))

    def _make(self, experiment: Experiment, arm: Arm, job: Job, prompt: int) -> None:
        alone = replace(job, clips=(job.clips[prompt],))
        for chunk in missing(self.pipe, experiment, {arm: alone}, self.model):
            self.on_clip(arm.name, chunk.clips[0].prompt)
            try:
                for _ in make(self.pipe, chunk, self.model, lambda step: None):
                    pass
            except ByTheWayError as error:
                if isinstance(error.__cause__, NotFiniteError) and job.request.config is not None:
                    raise NoClipError(f"{arm.name}: {error}") from error
                raise

    def _job(self, config: ByTheWayConfig | None) -> Job:
        return check(replace(self.request, config=config), self.profile)

    def _arm(self, config: ByTheWayConfig | None) -> Arm:
        """Named after everything that differs from the preset."""
        if config is None:
            return Arm(VANILLA)
        preset = self.profile.preset.config.to_dict()
        changes = {name: value for name, value in config.to_dict().items() if value != preset[name]}
        return Arm(" ".join(f"{name}={value}" for name, value in changes.items()) or "preset", True, changes)
