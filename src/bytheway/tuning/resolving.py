"""What a config leaves to a model, found: from the first steps of its vanilla clips, which are measured once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bytheway.config import AutoConfig, ByTheWayConfig
from bytheway.diagnosis.curves import Curves
from bytheway.diagnosis.store import fingerprint_of
from bytheway.errors import ByTheWayError, ByTheWayWarning
from bytheway.evaluation.suites import usual_prompts
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.job import Job, PlannedClip, check
from bytheway.generation.request import Request
from bytheway.generation.run import settings_of
from bytheway.generation.sample import Step
from bytheway.models.profile import Profile, profile_of
from bytheway.tuning.auto import AutoSettings, auto_settings
from bytheway.tuning.kept import find_observed, save_observed
from bytheway.tuning.observing import candidates, first_steps

CLIPS: Final = 8
"""Vanilla clips that settings are found from."""
# The settings of a clip on which its vanilla maps depend.
_CONDITIONS: Final = (
    "num_frames",
    "width",
    "height",
    "steps",
    "guidance_scale",
    "negative_prompt",
    "scheduler",
    "dtype",
)


@dataclass(frozen=True)
class Resolved:
    """What was found for a model.

    Attributes:
        settings: the whole config, with the reasons.
        auto: which of its settings were found.
        sentence: what was chosen, and from what.
        kept: where the measurement is, and was or will be found again; None: it is not kept.
    """

    settings: AutoSettings
    auto: tuple[str, ...]
    sentence: str
    kept: Path | None

    @property
    def config(self) -> ByTheWayConfig:
        """The whole config."""
        return self.settings.config

    def into(self, request: Request) -> Request:
        """The request with this config, which says of its clips what was found."""
        return replace(request, config=self.config, auto=self.auto)


def resolve(pipe: VideoPipeline, config: AutoConfig, like: Request | None = None) -> ByTheWayConfig:
    """What `AutoConfig.resolve` does: the config, what was chosen said in a warning."""
    found = find_settings(pipe, config, like)
    warnings.warn(found.sentence, ByTheWayWarning, stacklevel=4)
    return found.config


def find_settings(
    pipe: VideoPipeline,
    config: AutoConfig,
    like: Request | None = None,
    *,
    vanilla: Job | None = None,
    model: str | None = None,
    on_clip: Callable[[PlannedClip], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Resolved:
    """Find what a config leaves to a model.

    Args:
        pipe: the model; it is left as it was.
        config: what is given, and what is to be found.
        like: whose frames, size, steps and starts the vanilla clips have; None: the model's defaults.
        vanilla: clips in place of the usual ones; they are looked at anew, and not kept.
        model: what the user calls it, below which name the measurement is kept; None: as diffusers has it.
        on_clip: hears of each clip before it is begun; of none where the measurement was kept.
        on_step: hears of each of their steps, and may end it by an exception.

    Raises:
        ByTheWayError: the model has no temporal attention maps, or what is kept of it is damaged.
    """
    profile = profile_of(pipe)
    if not profile.has_temporal_maps:
        raise ByTheWayError(
            f"This model ({profile.pipeline}) has no temporal attention maps, which {', '.join(config.auto)} would be "
            "found from; give numbers."
        )
    base = config.base
    if "anchor_block" in config.auto:
        base = base.replace(anchor_block=profile.preset.config.anchor_block)
    job = vanilla or vanilla_clips(profile, like or Request(("any",), seed=0))
    anchors = candidates(pipe, base)
    hear = on_clip or (lambda clip: None)
    if vanilla is None:
        by_anchor, kept = _observed(pipe, job, base, anchors, model, hear, on_step)
    else:
        by_anchor, kept = first_steps(pipe, job, base, anchors, hear, on_step), None
    found = auto_settings(
        {anchor: by_anchor[anchor] for anchor in anchors}, profile.latent_frames(job.num_frames), base, config.auto
    )
    values = ", ".join(f"{name} {_said(getattr(found.config, name), anchors[0])}" for name in config.auto)
    where = f", kept in {kept}" if kept else ""
    sentence = f"Found for this model: {values} (by the maps of {len(job.clips)} vanilla clips{where})."
    return Resolved(found, config.auto, sentence, kept)


def vanilla_clips(
    profile: Profile, like: Request, count: int = CLIPS, seed: int = 0, prompts: Sequence[str] | None = None
) -> Job:
    """So many vanilla clips, each with a seed of its own, whose frames, size, steps and starts are as in a request.

    Args:
        profile: of the model.
        like: the request.
        count: of the clips.
        seed: of the first; the next has seed + 1.
        prompts: some from all over these are used; None: from all over a suite.
    """
    chosen = usual_prompts(count, of_world=profile.defaults.vocabulary is not None, prompts=prompts)
    request = replace(like, prompts=chosen, seed=seed, config=None, auto=(), num_videos=1, batch_size=1)
    job = check(replace(request, compare=False, free_init=False, record=False), profile)
    clips = (PlannedClip(index, chosen[index % len(chosen)], seed + index) for index in range(count))
    return replace(job, clips=tuple(clips))


def _observed(
    pipe: VideoPipeline,
    job: Job,
    base: ByTheWayConfig,
    anchors: Sequence[str],
    model: str | None,
    on_clip: Callable[[PlannedClip], None],
    on_step: Callable[[Step], None] | None,
) -> tuple[dict[str, list[Curves]], Path | None]:
    """The curves of the usual clips by anchor, and where they are kept.

    Those that start from images or a video are not kept: others have others.
    """
    if job.inputs:
        return first_steps(pipe, job, base, anchors, on_clip, on_step), None
    fingerprint, conditions = fingerprint_of(pipe), _conditions(pipe, job, base)
    path, known = find_observed(fingerprint, conditions) or (None, {})
    if path is None or not set(anchors) <= set(known):
        known = known | first_steps(pipe, job, base, anchors, on_clip, on_step)
        name = model or str(getattr(pipe, "name_or_path", "") or type(pipe).__name__)
        path = save_observed(name, fingerprint, conditions, known)
    return known, path


def _conditions(pipe: VideoPipeline, job: Job, base: ByTheWayConfig) -> dict[str, Any]:
    """On what the record of vanilla clips depends beside the weights."""
    settings = settings_of(pipe, job, job.clips[0], 1)
    return {name: settings[name] for name in _CONDITIONS} | {"active_steps": base.active_steps}


def _said(value: object, first_anchor: str) -> str:
    if value is None:
        return first_anchor
    return f"{value:g}" if isinstance(value, float) else str(value)
