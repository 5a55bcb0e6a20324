"""What is done for a ticket on a loaded pipeline: clips are made, looked at while they are, and kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from PIL import Image

from bytheway.config import AUTO_SETTINGS, AutoConfig, ByTheWayConfig
from bytheway.diagnosis.curves import Curves, curves_of
from bytheway.diagnosis.fit import Fit
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job, PlannedClip, beyond_training, changes_to_request, check
from bytheway.generation.previews import middle_frame
from bytheway.generation.run import make_clips
from bytheway.generation.sample import Step
from bytheway.generation.scheduler_steps import SchedulerStep, watched
from bytheway.models.profile import Profile, profile_of
from bytheway.selection.best import Choice, check_choice, make_best, steps_before_choice
from bytheway.selection.conditions import fit_for
from bytheway.selection.forecast import forecast_of
from bytheway.studio.history import History
from bytheway.studio.tickets import Candidate, Made, Progress, Ticket
from bytheway.studio.wishes import Cell
from bytheway.tuning.resolving import CLIPS, find_settings

_PREVIEW: Final = 256  # pixels of its longer side
_SECONDS: Final = 0.5  # between two previews


class StoppedError(Exception):
    """Ends a run that is wanted no longer."""


@dataclass
class Making:
    """Makes the clips of one ticket.

    Attributes:
        pipe: the model.
        ticket: hears of everything.
        history: where clips go.
    """

    pipe: VideoPipeline
    ticket: Ticket
    history: History
    _profile: Profile = field(init=False)
    _predicted: Any = field(init=False, default=None)  # by the scheduler's latest step, in latents
    _shown: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._profile = profile_of(self.pipe)

    def __call__(self) -> None:
        """Make them all.

        Raises:
            ByTheWayError: something asked for cannot be had.
            StoppedError: the ticket is wanted no longer.
        """
        wish = self.ticket.wish
        cells = wish.cells()
        config = self._config()
        first = self._job(cells[0], config)
        # the others share the video that the first has read
        others = (replace(cell, request=replace(cell.request, video=first.video)) for cell in cells[1:])
        jobs = [first, *(self._job(cell, config) for cell in others)]
        self._note_before(first)
        if wish.best:
            self._make_best(first)
            return
        total = sum(job.steps_run * job.iterations * (2 if job.request.compare else 1) for job in jobs)
        steps = _Steps(self, total)
        for number, (cell, job) in enumerate(zip(cells, jobs, strict=True)):
            fit = self._fit(job)
            steps.begin(job, cell.label, f"clip {number + 1} of {len(cells)}" if len(cells) > 1 else "", fit)
            with self._watching():
                for clip in make_clips(self.pipe, job, steps):
                    self._keep(clip, cell.label, steps.forecast)

    def check_stop(self) -> None:
        """Raise StoppedError where the ticket is wanted no longer."""
        if self.ticket.stop.is_set():
            raise StoppedError

    # ------------------------------------------------------------------------------------------------ settings

    def _config(self) -> ByTheWayConfig | None:
        method = self.ticket.wish.method
        if method == "preset":
            return self._profile.preset.config
        return self._auto() if method == "auto" else method

    def _auto(self) -> ByTheWayConfig:
        """The settings that the model's own maps ask for; where they were looked at before, they are not again."""

        def on_clip(clip: PlannedClip) -> None:
            self.check_stop()
            said = f"Looking at the model's own maps: clip {clip.index + 1} of {CLIPS}"
            self.ticket.change(state="looking", said=said)

        wish, wanted = self.ticket.wish, AutoConfig(self._profile.preset.config, AUTO_SETTINGS)
        with watched(self.pipe.scheduler, lambda step: self.check_stop()):
            found = find_settings(self.pipe, wanted, wish.request, model=wish.choice.model, on_clip=on_clip)
        self._note([found.sentence])
        return found.config

    def _job(self, cell: Cell, config: ByTheWayConfig | None) -> Job:
        own = config.replace(**cell.config_changes) if config is not None else None
        record = own is not None and own.active_steps > 0 and self._profile.has_temporal_maps
        wish = self.ticket.wish
        auto = tuple(one for one in AUTO_SETTINGS if wish.method == "auto" and one not in cell.config_changes)
        request = replace(cell.request, config=own, auto=auto, compare=wish.compare, record=record)
        return check(request, self._profile)

    def _fit(self, job: Job) -> Fit | None:
        try:
            return fit_for(self.ticket.wish.choice.model, self.pipe, job)
        except ByTheWayError as error:
            self._note([str(error)])
            return None

    def _note_before(self, job: Job) -> None:
        unknown = [word for prompt in job.request.prompts for word in self._profile.unknown_words(prompt)]
        words = [f"The model has never read: {', '.join(dict.fromkeys(unknown))}."] if unknown else []
        if not self._profile.accepts("prompt"):
            words.append("The model reads no prompts; the clip is only named after it.")
        self._note([*changes_to_request(job), *beyond_training(job), *words])

    def _note(self, sentences: Iterable[str]) -> None:
        known = self.ticket.status.notes
        self.ticket.change(notes=tuple(dict.fromkeys((*known, *sentences))))

    # ---------------------------------------------------------------------------------------------------- clips

    def _make_best(self, job: Job) -> None:
        wish = self.ticket.wish
        assert wish.best is not None
        job = check(replace(job.request, num_videos=wish.best.seeds), self._profile)
        check_choice(self.pipe, job, wish.best.keep, wish.best.aim)
        before = steps_before_choice(job)
        steps = _Steps(self, wish.best.seeds * before + wish.best.keep * (job.steps_run - before))
        fit = self._fit(job)
        steps.begin(job, "", "", None)

        def say(choice: Choice) -> None:
            self.ticket.change(
                candidates=tuple(
                    Candidate(
                        one.clip.seed,
                        one.prediction.motion,
                        one.prediction.structure,
                        one.prediction.near_static,
                        one.place,
                        one.kept,
                    )
                    for one in choice.candidates
                )
            )
            first = choice.candidates[0].prediction
            self._note([f"Motion is told by {first.motion_by}, structure by {first.structure_by}."])

        clips = make_best(self.pipe, job, wish.best.keep, wish.best.aim, fit, steps, say)
        with closing(clips):
            for clip in clips:
                self._keep(clip, f"seed {clip.settings['seed']}", None)

    def _keep(self, clip: Clip, label: str, forecast: str | None) -> None:
        settings = self.ticket.wish.choice.settings() | clip.settings
        recorded = clip.record is not None and len(clip.record) > 0
        curves = _curves(curves_of(clip.record)) if recorded and clip.record is not None else None
        name = self.history.save(clip.frames, clip.vanilla, clip.fps, settings, curves)
        self.ticket.change(made=(*self.ticket.status.made, Made(name, label, forecast)), forecast=None)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Keeps what the scheduler predicts of the clip, which can be seen earlier than its noisy latents."""

        def see(step: SchedulerStep) -> None:
            try:
                self._predicted = step.predicted()
            except ByTheWayError:
                self._predicted = None

        try:
            with watched(self.pipe.scheduler, see):
                yield
        finally:
            self._predicted = None

    def preview(self, step: Step) -> Image.Image | None:
        """The middle frame of the clip as it is going to be, small; the one before where it is too soon for another."""
        if step.latents is None or time.monotonic() - self._shown < _SECONDS:
            return self.ticket.status.preview
        latents = step.latents if self._predicted is None else self._predicted
        frame = middle_frame(self.pipe, latents)
        self._shown = time.monotonic()
        if frame is not None:
            frame.thumbnail((_PREVIEW, _PREVIEW))
        return frame


class _Steps:
    """Counts the steps of all clips of a ticket (`on_step`), of which some may wait while others go on."""

    def __init__(self, making: Making, total: int) -> None:
        self._making, self._total = making, total
        self._before, self._done = 0, dict[tuple[int, str], int]()
        self._label = ""
        self._fit: Fit | None = None
        self._job: Job | None = None
        self._begun: float | None = None
        self._ahead = 0  # steps that were done when the time was taken
        self.forecast: str | None = None

    def begin(self, job: Job, label: str, what: str, fit: Fit | None) -> None:
        """The next job."""
        self._before += sum(self._done.values())
        self._done.clear()
        self._job, self._fit, self.forecast = job, fit, None
        self._label = ", ".join(filter(None, (what, label)))

    def __call__(self, step: Step) -> None:
        self._making.check_stop()
        assert self._job is not None
        clip = step.clips[0]
        self._done[clip.index, step.variant] = step.iteration * step.steps + step.done
        done = self._before + sum(self._done.values())
        now = time.monotonic()
        if self._begun is None and done:  # the first step is slower than all others
            self._begun, self._ahead = now, done
        rate = None if self._begun is None or done <= self._ahead else (now - self._begun) / (done - self._ahead)
        if self._fit is not None:
            self.forecast = forecast_of(step, self._fit) or self.forecast
        seed = f"seed {clip.seed}" if len(self._job.clips) > 1 else ""
        variant = step.variant if self._job.request.compare else ""
        self._making.ticket.change(
            state="making",
            said="",
            progress=Progress(
                done,
                self._total,
                ", ".join(filter(None, (self._label, seed, variant))),
                step.done,
                step.steps,
                step.active,
                None if rate is None else rate * (self._total - done),
            ),
            forecast=self.forecast,
            preview=self._making.preview(step),
        )


def _curves(curves: Curves) -> dict[str, Any]:
    """Curves ready for JSON."""

    def listed(one: Any) -> dict[str, list[float]]:
        return {block: [round(float(value), 5) for value in values] for block, values in one.items()}

    return {
        "steps": list(curves.steps),
        "anchor": curves.anchor,
        "energy": listed(curves.energy),
        "disparity": listed(curves.disparity),
        "beta": listed(curves.beta),
    }
