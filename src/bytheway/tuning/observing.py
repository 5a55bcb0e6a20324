"""The first steps of vanilla clips, recorded: the rest of each is never made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from bytheway.apply.api import observe
from bytheway.apply.steps import count_active
from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.curves import Curves, curves_of
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoiser_of
from bytheway.families.pipeline import VideoPipeline
from bytheway.families.sites import find_sites
from bytheway.generation.job import Job, PlannedClip
from bytheway.generation.run import make_clips
from bytheway.generation.sample import Step


class _SeenError(Exception):
    """Ends a run of which the first steps are there."""


def first_steps(
    pipe: VideoPipeline,
    job: Job,
    config: ByTheWayConfig,
    anchors: Sequence[str],
    on_clip: Callable[[PlannedClip], None],
    on_step: Callable[[Step], None] | None = None,
) -> dict[str, list[Curves]]:
    """What is recorded of the active steps of each clip of a job, the method being off, by anchor.

    Args:
        pipe: whose clips they are; it is left as it was.
        job: without a config of the method and without a record.
        config: tells the active steps.
        anchors: blocks that disparities refer to, the first of them in the curves of all blocks; each clip is made once
            for all of them.
        on_clip: hears of each clip before it is begun.
        on_step: hears of each step.

    Raises:
        ByTheWayError: the model has no temporal attention maps, or the anchor does not suit it.
    """
    active = max(1, count_active(config.active_steps, job.steps_run))

    def until_seen(step: Step) -> None:
        if on_step is not None:
            on_step(step)
        if step.done >= active:
            raise _SeenError

    first, *others = anchors
    found: dict[str, list[Curves]] = {anchor: [] for anchor in anchors}
    for clip in job.clips:
        on_clip(clip)
        with observe(pipe, config.replace(anchor_block=first), anchors=others) as run, suppress(_SeenError):
            list(make_clips(pipe, replace(job, clips=(clip,)), until_seen))
        for anchor, record in {first: run.record, **run.by_anchor}.items():
            found[anchor].append(curves_of(record).first(active))
    return found


def candidates(pipe: VideoPipeline, preset: ByTheWayConfig) -> tuple[str, ...]:
    """The blocks that could be the anchor, the preset's first: those that take part and run before another that does.

    Raises:
        ByTheWayError: the model has no temporal attention maps, or no decoder in which one block could guide another.
    """
    sites = find_sites(denoiser_of(pipe), preset)
    anchor = next((site.block for site in sites if site.role == "anchor"), None)
    if anchor is None:
        raise ByTheWayError("No block of this model guides another, so that there is nothing to derive.")
    guided = list(dict.fromkeys(site.block for site in sites if site.role == "guided"))
    return (anchor, *guided[:-1])
