"""What `bytheway tune --search` does with its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bytheway.cli.run import ModelChoice, in_words, quieten_libraries, warn_before
from bytheway.cli.tables import note, print_settings, print_table
from bytheway.config import AUTO_SETTINGS, AutoConfig, ByTheWayConfig
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.report.words import interval, number
from bytheway.evaluation.statistics import FEW_PROMPTS, Estimate, mean
from bytheway.evaluation.suites import usual_prompts
from bytheway.files import check_writable
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.tuning.plan import Budget, agreed_facts, split_prompts

if TYPE_CHECKING:
    from bytheway.families.pipeline import VideoPipeline
    from bytheway.tuning.outcome import HeldOut, Outcome
    from bytheway.tuning.racing import Trial

PROMPTS = 24
"""Of a suite, where none are given."""
SPLIT = ("prompts", "held_out")
"""The facts of a search that say which prompts it searches by, and which are asked for what it found."""


def run_search(
    choice: ModelChoice,
    folder: Path,
    budget: Budget,
    measures: MeasureChoice,
    *,
    prompts: Sequence[str] | None,
    objectives: Sequence[str] | None,
    steps: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Search until the budget is spent, and say what was found: the front, the chosen point, its gain.

    Args:
        choice: the model.
        folder: of the search; one that is there goes on where it stopped.
        budget: of this process.
        measures: which networks measure; its names do not count.
        prompts: of the user; None: from all over a suite.
        objectives: measures, see `tuning.objectives`; None: the usual ones.
        steps: of a clip; None: the model's.
        seed: of the clips and of what is drawn.
        output: where else the config goes.
    """
    check_writable(folder)
    from bytheway.tuning.objectives import objectives_of, usual_objectives

    note("Loading the measures")
    quieten_libraries()
    texts = tuple(objectives) if objectives is not None else usual_objectives(measures)
    measures = replace(measures, names=tuple(text.removeprefix("-") for text in texts))
    ready = measures.load_named(measures.names or ())
    wanted = objectives_of(texts, ready)
    labels = tuple(one.label for one in wanted)
    note(f"Objectives: {', '.join(labels)}")
    pipe = choice.load()

    from bytheway.diagnosis.store import fingerprint_of  # imports torch, as loading a model does
    from bytheway.models.profile import profile_of
    from bytheway.tuning.clips import MeasuredClips
    from bytheway.tuning.outcome import held_out, outcome_of
    from bytheway.tuning.presets import TunedPreset, save_preset
    from bytheway.tuning.search import Search, lock
    from bytheway.tuning.space import space_of

    profile = profile_of(pipe)
    given = prompts or usual_prompts(PROMPTS, of_world=profile.defaults.vocabulary is not None)
    fingerprint = fingerprint_of(pipe)
    asked = {
        "model": choice.settings(),
        "weights": fingerprint,
        "number of steps": steps,
        "seed": seed,
        "objectives": list(labels),
        "list of prompts": list(given),
    }
    with lock(folder, "facts"):
        facts = agreed_facts(folder, asked, lambda: dict(zip(SPLIT, split_prompts(given, budget), strict=True)))
    searched, held = (list(facts[name]) for name in SPLIT)
    request = Request((*searched, *held), seed=seed, steps=steps)
    job = check(request, profile)
    warn_before(job, profile, choice.model)
    evaluate = MeasuredClips(
        folder,
        pipe,
        profile,
        choice.settings(),
        request,
        ready,
        measures,
        wanted,
        len(searched),
        lambda arm, prompt: note(f"{arm}: {prompt}"),
    )
    space, preset = space_of(pipe, profile, job.num_frames), profile.preset.config
    starts = (preset, *_auto(pipe, preset, request, choice.model)) if space.anchors else (preset,)
    search = Search(folder, space, labels, len(searched), evaluate, starts, seed)
    note(
        f"Searching by {len(searched)} prompts, {len(held)} are held out; {evaluate.spent()} clips and "
        f"{len(search.tried())} trials are there already."
    )

    def on_trial(one: Trial, whole: bool) -> None:
        gains = ", ".join(f"{label} {number(gain, signed=True)}" for label, gain in zip(labels, one.mean, strict=True))
        note(f"{evaluate.spent()} clips: {_words(one.config)}: {gains}{'' if whole else ' (dropped)'}")

    search.run(budget.ends(evaluate.spent), on_trial, lambda error: note(f"Left out: {error}"))
    found = outcome_of(search)
    _print_front(found, labels)
    with lock(folder, "held-out"):
        numbers = range(len(searched), len(searched) + len(held))
        gain = held_out(evaluate, labels, numbers, found.chosen.config, preset)
    over_vanilla = _print_gain(gain, labels, len(held))
    if min(found.chosen.mean) <= 0:
        note("No trial gains in every objective; the chosen one loses least.")
    preset_file = save_preset(TunedPreset(choice.model, fingerprint, found.chosen.config, over_vanilla), asked)
    _save(found, preset, folder, output, preset_file, choice.model, labels)


def _auto(pipe: VideoPipeline, preset: ByTheWayConfig, request: Request, model: str) -> tuple[ByTheWayConfig]:
    """What the model's own maps ask for, which is said."""
    from bytheway.tuning.resolving import find_settings

    found = find_settings(pipe, AutoConfig(preset, AUTO_SETTINGS), request, model=model)
    note(found.sentence)
    return (found.config,)


def _print_front(found: Outcome, labels: Sequence[str]) -> None:
    rows = [
        (
            _words(one.config) + (" (chosen)" if one is found.chosen else ""),
            *(_figure(mean(gains)) for gains in one.gains.T),
        )
        for one in sorted(found.front, key=lambda one: -float(one.mean[0]))
    ]
    print_table(("front: gains over vanilla", *labels), rows)


def _print_gain(gain: HeldOut, labels: Sequence[str], count: int) -> dict[str, str]:
    """What the chosen config gains on so many held-out prompts; returns its gains over vanilla in words."""
    over_vanilla = {label: _figure(one) for label, one in gain.over_vanilla.items()}
    print_table(
        (f"chosen, on {count} held-out prompts", "gain over vanilla", "gain over the preset"),
        [(label, over_vanilla[label], _figure(gain.over_preset[label])) for label in labels],
    )
    if count < FEW_PROMPTS:
        note(f"From {count} prompts intervals are narrower than they should be.")
    return over_vanilla


def _save(
    found: Outcome,
    preset: ByTheWayConfig,
    folder: Path,
    output: Path | None,
    preset_file: Path,
    model: str,
    labels: Sequence[str],
) -> None:
    """Draw the front, save the chosen config, and say where everything is."""
    from bytheway.tuning.outcome import RULE, draw_front

    picture, file = folder / "front.png", folder / "tuned.toml"
    draw_front(picture, found, labels)
    for path in (file, *([] if output is None else [output])):
        found.chosen.config.save(path)
    print_settings(
        f"settings for {model}",
        {
            "chosen": _words(found.chosen.config),
            "preset": _words(preset),
            "rule": RULE,
            "tried": f"{len(found.tried)} trials, {found.dropped} dropped early",
            "picture": picture,
            "for --config": file if output is None else output,
            "kept, for bytheway models": preset_file,
        },
    )


def _words(config: ByTheWayConfig) -> str:
    anchor = "" if config.anchor_block is None else f", towards {config.anchor_block}"
    return in_words(config) + anchor


def _figure(estimate: Estimate) -> str:
    return f"{number(estimate.value, signed=True)} [{interval(estimate, signed=True)}]"
