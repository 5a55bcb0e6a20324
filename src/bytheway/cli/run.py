"""What `bytheway generate` does with its options."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from bytheway.cli.best_of import BestOf
from bytheway.cli.destination import Destination
from bytheway.cli.progress import RunProgress
from bytheway.cli.tables import note, print_settings, print_table, warn
from bytheway.config import AUTO, AutoConfig, ByTheWayConfig, config_from, load_config
from bytheway.diagnosis.fit import Fit
from bytheway.errors import ByTheWayError
from bytheway.families.family import Start
from bytheway.families.known import presets
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job, PlannedClip, beyond_training, changes_to_request, check
from bytheway.generation.request import Request
from bytheway.generation.run import make_clips, settings_of, shown_size
from bytheway.generation.sample import Step
from bytheway.models.choice import ModelChoice as _ModelChoice
from bytheway.models.profile import Profile, profile_of

Config: TypeAlias = ByTheWayConfig | AutoConfig | None


class ModelChoice(_ModelChoice):
    """The model of a run, whose loading is said."""

    def load(self) -> VideoPipeline:
        """The pipeline, on its device, without progress bars of its own."""
        note(f"Loading {self.model}")
        with _kept_to_the_end():
            quieten_libraries()
            return super().load()


@dataclass(frozen=True)
class Made:
    """What is said of a clip that was saved; its frames are let go."""

    path: Path
    settings: dict[str, Any]
    seconds: float
    shape: tuple[int, ...]


def run(
    choice: ModelChoice,
    request: Request,
    settings_for: Callable[[Profile | None], Config],
    destination: Destination,
    best: BestOf | None = None,
) -> None:
    """Load the model, make the clips, save each as soon as it is there, and say what was made.

    Args:
        settings_for: gives the method's settings for the profile of the loaded pipeline.
        best: how to choose among the seeds of each prompt; None: all clips are made.
    """
    pipe = choice.load()
    from bytheway.cli.forecast import fit_at_hand  # imports torch, as loading a model does

    profile = profile_of(pipe)
    job = check(_whole_request(choice, pipe, request, settings_for(profile)), profile)
    destination.check(job.fps, shown_size(job))
    for change in changes_to_request(job):
        note(change)
    warn_before(job, profile, choice.model)
    fit = fit_at_hand(choice.model, pipe, job)
    made: list[Made] = []
    try:
        if best is None:
            making = _all_clips(pipe, job, choice, destination, fit)
        else:
            from bytheway.cli.choosing import best_clips

            making = best_clips(pipe, job, best, fit, choice.model)
        with closing(making) as clips:
            for index, clip in clips:
                path = destination.save(replace(clip, settings=choice.settings() | clip.settings), index)
                made.append(Made(path, clip.settings, clip.seconds, clip.frames.shape))
    finally:  # the clips that were finished before an interruption are there to be seen
        if made:
            _print_summary(made, choice.model)


def _all_clips(
    pipe: VideoPipeline, job: Job, choice: ModelChoice, destination: Destination, fit: Fit | None
) -> Generator[tuple[int, Clip]]:
    """The clips that are not there yet, by their number; where a fit tells, what they are likely to be is said."""
    from bytheway.cli.forecast import Forecast, job_with_forecast

    job = replace(job_with_forecast(job, fit), clips=_left_to_make(pipe, job, choice, destination))
    forecast = None if fit is None else Forecast(fit, destination.count)
    with RunProgress(job, destination.count) as progress:

        def on_step(step: Step) -> None:
            progress(step)
            if forecast is not None:
                forecast(step)

        for planned, clip in zip(job.clips, make_clips(pipe, job, on_step), strict=True):
            yield planned.index, clip


def _left_to_make(
    pipe: VideoPipeline, job: Job, choice: ModelChoice, destination: Destination
) -> tuple[PlannedClip, ...]:
    """The clips that are not there yet; says how many are, and what is replaced."""
    left = []
    for clip in job.clips:
        if not destination.finished(clip.index, choice.settings() | settings_of(pipe, job, clip, 1)):
            left.append(clip)
    if len(left) < len(job.clips):
        note(f"{len(job.clips) - len(left)} of {len(job.clips)} clips are there already.")
    replaced = destination.replaced([clip.index for clip in left])
    if replaced:
        note(f"{replaced[0]} is replaced." if len(replaced) == 1 else f"{len(replaced)} clips are replaced.")
    return tuple(left)


def chosen_config(
    preset: str | None, file: Path | None, chosen: Mapping[str, Any], enhance: bool, profile: Profile | None
) -> ByTheWayConfig | AutoConfig | None:
    """The method's settings: a file's, a preset's or those that suit the model, then the values chosen one by one.

    Without a profile of the model (None) only checks what was given. Returns None where the method is to be left out.
    """
    changes = {name: _number_or_auto(name, value) for name, value in chosen.items() if value is not None}
    if not enhance:
        if preset or file or changes:
            raise ByTheWayError("--no-enhance leaves the method out; leave its settings out as well.")
        return None
    if preset and file:
        raise ByTheWayError("Both --preset and --config give the settings; leave one of them out.")
    if preset and preset not in presets():
        raise ByTheWayError(f"There is no preset {preset!r}; the presets are {', '.join(presets())}.")
    base: ByTheWayConfig | AutoConfig = ByTheWayConfig()
    if file:
        base = load_config(file)
    elif preset:
        base = presets()[preset].config
    elif profile is not None:
        base = profile.preset.config
    return config_from(changes, base)


def _number_or_auto(name: str, value: Any) -> Any:
    """What an option says, such as "0.6" or "auto"."""
    if not isinstance(value, str) or value == AUTO:
        return value
    try:
        return int(value) if name == "tau" else float(value)
    except ValueError:
        kind = "a whole number" if name == "tau" else "a number"
        raise ByTheWayError(f"--{name} is {value!r}; give {kind}, or {AUTO}.") from None


def _whole_request(choice: ModelChoice, pipe: VideoPipeline, request: Request, config: Config) -> Request:
    """The request with its config, what that leaves to the model being found and said."""
    if not isinstance(config, AutoConfig):
        return replace(request, config=config)
    from bytheway.tuning.resolving import CLIPS, find_settings  # imports torch, as loading a model does

    def on_clip(clip: PlannedClip) -> None:
        note(f"looking at vanilla clip {clip.index + 1}/{CLIPS}, its first steps: {clip.prompt}")

    found = find_settings(pipe, config, request, model=choice.model, on_clip=on_clip)
    note(found.sentence)
    return found.into(request)


def size_of(text: str | None) -> tuple[int | None, int | None]:
    """Width and height of `512x320`; None twice for None."""
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d{1,9})[xX×](\d{1,9})", text.strip())
    if match is None:
        raise ByTheWayError(f"--size is {text!r}; write WIDTHxHEIGHT, such as 512x320.")
    return int(match[1]), int(match[2])


def start_of(request: Request) -> Start | None:
    """What the clips start from beside the prompt.

    Raises:
        ByTheWayError: from images and from sketches, which are two different models.
    """
    if request.video is not None:
        return "video"
    kinds: set[Start] = {"sketch" if still.sketch else "image" for still in request.images}
    if len(kinds) > 1:
        raise ByTheWayError("A clip starts from images or from sketches, not from both; leave one kind out.")
    return kinds.pop() if kinds else None


def warn_before(job: Job, profile: Profile, model: str) -> None:
    """Say what a model was not made for, and which words it does not know."""
    for sentence in beyond_training(job):
        warn(sentence)
    _warn_of_unknown_words(profile, model, job.request.prompts)


def _warn_of_unknown_words(profile: Profile, model: str, prompts: tuple[str, ...]) -> None:
    """Say where a model reads no prompts, or which of their words it has never read."""
    if not profile.accepts("prompt"):
        warn(f"{model} reads no prompts; the clip is only named after it.")
    words = dict.fromkeys(word for prompt in prompts for word in profile.unknown_words(prompt))
    if words:
        warn(f"{model} has never read: {', '.join(words)}. bytheway inspect {model} lists its words.")


def _print_summary(made: list[Made], model: str) -> None:
    first = made[0]
    if len(made) > 1:
        rows = [(one.path, one.settings["seed"], f"{one.seconds:.1f}", one.settings["prompt"]) for one in made]
        print_table(("file", "seed", "seconds", "prompt"), rows)
        print_settings("settings", _run_settings(first, model))
        return
    own = {"prompt": first.settings["prompt"], "seed": first.settings["seed"], "seconds": f"{first.seconds:.1f}"}
    print_settings("saved", {"file": first.path, **own, **_run_settings(first, model)})


def _run_settings(made: Made, model: str) -> dict[str, str]:
    """What the clips of a run have in common, in words."""
    s = made.settings
    count, height, width, _ = made.shape  # as the model rounded them
    free_init = ", FreeInit" if s["free_init"] else ""
    starts = s["images"] or ([f"{s['video']}, strength {s['strength']:g}"] if s["video"] else [])
    return {
        **({"from": ", ".join(starts)} if starts else {}),
        "clip": f"{count} frames of {width}x{height}, {s['fps']:g} a second",
        "model": f"{model}, {s['steps']} steps of {s['scheduler']}, guidance {s['guidance_scale']:g}{free_init}, "
        f"{s['dtype']} on {s['device']}",
        "method": (in_words(ByTheWayConfig.from_dict(s["config"])) if s["config"] else "left out")
        + (f", {', '.join(s['auto'])} found for the model" if "auto" in s else "")
        + (", beside vanilla" if s["compare"] else ""),
    }


def in_words(config: ByTheWayConfig) -> str:
    """The settings that matter most, on one line."""
    return (
        f"alpha {config.alpha:g}, beta {config.beta:g}, tau {config.tau}, "
        f"in the first {config.active_steps:.0%} of the steps"
    )


@contextmanager
def _kept_to_the_end() -> Iterator[None]:
    """Keeps the garbage collector away from what is imported and loaded here, which is needed until the command ends.

    It would look through these 800 000 objects again and again, and once more at exit: a third of the CPU time that a
    command takes beside the denoising.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def quieten_libraries() -> None:
    """No bars while files of this machine are read, no advice on optional packages; downloads keep their bars."""
    import logging

    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    # Says of every motion model that none of its modules has to stay in float32, and calls it an error that weights are
    # in another format than the one it looks for first.
    logging.getLogger("diffusers.models.modeling_utils").setLevel(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
