"""What `bytheway inspect --clips` does: clips made and recorded, findings as a table, a fit and its skill, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from bytheway.cli.forecast import fit_at_hand
from bytheway.cli.progress import RunProgress
from bytheway.cli.tables import note, print_settings, print_table
from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.figures import draw_curves, draw_maps
from bytheway.diagnosis.findings import diagnose
from bytheway.diagnosis.fit import FEWEST_CLIPS, Fit
from bytheway.diagnosis.maps import watch_maps
from bytheway.diagnosis.schedule import active_noise
from bytheway.diagnosis.store import save_fit
from bytheway.errors import ByTheWayError
from bytheway.evaluation.suites import usual_prompts
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.job import Job, PlannedClip, check
from bytheway.generation.request import Request
from bytheway.generation.run import make_clips
from bytheway.models.profile import Profile
from bytheway.selection.learning import Example, learn, measured, measures_at_hand

NUMBERS: Final = {"motion": "motion", "structure": "structure", "near_static": "near-static"}


def inspect_clips(
    model: str, pipe: VideoPipeline, profile: Profile, count: int, seed: int, picture: Path | None
) -> None:
    """Make clips with the model's preset and say what their records tell; of enough clips, fit what they tell."""
    job = _usual_clips(profile, count, seed)
    examples, maps = _examples(pipe, job, picture is not None)
    fit = _fitted(model, pipe, job, examples) if count >= FEWEST_CLIPS else fit_at_hand(model, pipe, job)
    clips = [example.curves for example in examples]
    config, frames = profile.preset.config, profile.latent_frames(job.num_frames)
    size = job.width // profile.pixels_per_latent, job.height // profile.pixels_per_latent
    noise = active_noise(pipe.scheduler, clips[0].timesteps, size)
    findings = diagnose(clips, least_beta=config.beta, num_frames=frames, noise=noise, fit=fit)
    rows = [(one.topic, "yes" if one.found else "no", one.sentence, one.advice or "-") for one in findings]
    print_table(("topic", "found", "finding", "what to try"), rows)
    print_settings("where the limits come from", {one.topic: one.evidence for one in findings})
    if picture is not None:
        draw_curves(picture, clips, num_frames=frames, least_beta=config.beta)
        beside = picture.with_stem(f"{picture.stem}-maps")
        draw_maps(beside, maps, clips[0].steps)
        print_settings("pictures", {"curves": picture, "maps": beside})


def _usual_clips(profile: Profile, count: int, seed: int) -> Job:
    """So many clips of a model under its preset, of prompts from all over a suite, each with a seed of its own."""
    if not profile.has_temporal_maps:
        raise ByTheWayError(f"This model ({profile.pipeline}) has no temporal attention maps to record.")
    chosen = usual_prompts(count, of_world=profile.defaults.vocabulary is not None)
    job = check(Request(chosen, seed=seed, config=profile.preset.config, record=True), profile)
    clips = (PlannedClip(index, chosen[index % len(chosen)], seed + index) for index in range(count))
    return replace(job, clips=tuple(clips))


def _examples(pipe: VideoPipeline, job: Job, with_maps: bool) -> tuple[list[Example], dict[str, list[np.ndarray]]]:
    """The clips made, recorded and where there are enough measured; and maps of the first one."""
    count = len(job.clips)
    measures, missing = measures_at_hand() if count >= FEWEST_CLIPS else ((), {})
    for name, reason in missing.items():
        note(f"Left out: {name}. {reason}")
    examples: list[Example] = []
    maps: dict[str, list[np.ndarray]] = {}
    config = job.profile.preset.config
    with RunProgress(job, count) as progress, ExitStack() as watching:
        if with_maps:
            guided = job.guidance_scale > 1
            maps = watching.enter_context(watch_maps(pipe, config, guided=guided, calls=job.steps_run))
        for planned, clip in zip(job.clips, make_clips(pipe, job, progress), strict=True):
            watching.close()
            assert clip.record is not None
            found = measured(clip.frames, clip.fps, planned.prompt, measures)
            examples.append(Example(planned.prompt, curves_of(clip.record), found))
    return examples, maps


def _fitted(model: str, pipe: VideoPipeline, job: Job, examples: Sequence[Example]) -> Fit:
    """The fit of a model, kept, with what is to be said of it."""
    fit = learn(model, pipe, job, examples)
    path = save_fit(fit)
    skills = {NUMBERS[name]: f"{one.measure}: {one.skill}" for name, one in fit.predictors.items()}
    print_settings(f"fit of {model} on {fit.clips} clips, cross-validated", {**skills, "kept in": path})
    return fit
