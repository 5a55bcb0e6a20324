"""Tables and pictures from what is stored, into one folder: `results.md` and the pictures it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from bytheway.apply.steps import count_active
from bytheway.evaluation.statistics import Estimate
from bytheway.files import write_text
from research.diorama.architecture import NUM_FRAMES
from research.diorama.measures import STATIC_PIXELS
from research.markdown import table
from research.study import figures, tables
from research.study.agreement import Measuring, agreement
from research.study.attention import Attention, analyse
from research.study.curves import curves
from research.study.flow import FAST
from research.study.history import runs
from research.study.results import MEASURES, Choice, Comparison, Results
from research.study.sheets import write_sheets
from research.study.variants import BANDS, PAPER, PAPER_VIDEOCRAFTER, PRESET, REFERENCE, Axis, cells, paper_point, sweep

SWEPT = ("subject", "motion", "broken", "misshapen", "dynamic", "motion_range", "jerk", "flow")
DRAWN = ("broken", "dynamic", "motion", "motion_range")
"""What pictures of the sweeps show of it; more panels could not be read at the width of a page."""
SWEEP_PICTURES: Mapping[str, tuple[str, tuple[Axis, ...]]] = {
    "sweeps-strength.png": (
        "Sweeps: how strongly maps are guided and amplified",
        (Axis.ALPHA, Axis.BETA, Axis.STRENGTH),
    ),
    "sweeps-place.png": (
        "Sweeps: which frequencies, steps, blocks and heads",
        (Axis.TAU, Axis.ACTIVE_STEPS, Axis.ANCHOR_BLOCK, Axis.HEAD_RULE),
    ),
}
Found = TypeVar("Found")


def write(results: Results, models: Mapping[str, str], to: Path) -> None:
    """Write `results.md` and its pictures; what has no results yet is left out.

    Args:
        models: the models by name, for the contact sheets; of others there are none.
    """
    compared = _each(results, lambda model: results.compare(model, cells(model), MEASURES))
    attention = _each(results, lambda model: analyse(results, model))
    sections = [
        _heading(results),
        _claim(compared),
        _cells(compared, to),
        _sheets(results, models, to),
        swaps(results, to),
        _sweeps(_each(results, lambda model: _swept(results, model)), _each(results, results.best), to),
        _regime(attention, compared),
        _attention(attention, to),
        _bands(_each(results, lambda model: results.compare(model, BANDS, MEASURES))),
    ]
    write_text(to / "results.md", "\n\n".join(filter(None, sections)) + "\n")


def swaps(results: Results, to: Path) -> str:
    """The section of the swapped prompts, with its picture `swap.png`; empty where none were swapped."""
    found = _each(results, lambda model: curves(results, model))
    if not found:
        return ""
    active = count_active(PAPER.active_steps, results.sampling.steps)
    figures.swaps(to / "swap.png", found, active)
    return _section(
        "When layout and motion are decided",
        "The prompt gives way to another after k steps; the two differ in every attribute and share a seed. A curve is "
        "the share of clips that show what the first prompt says, over the pairs in which both prompts alone are read "
        "right; *track*: clips whose subject is, in the mean over frames, nearer to where the first prompt alone puts "
        f"it, over all pairs. Grey: the {active} steps in which the method acts.",
        "![Share of clips that show the first prompt, by steps before the swap](swap.png)",
        *_by_model(found, lambda model: tables.swaps(found[model], active)),
    )


def agreements(measuring: Measuring, models: Mapping[str, str], count: int) -> str:
    """A page on which measures agree with what is known of the first `count` prompts' clips.

    Args:
        measuring: the measures, with the results that they are held against.
        models: where each is loaded from, by its name.
        count: of prompts.
    """
    found = {model: agreement(measuring, model, source, count) for model, source in models.items()}
    left_out = "\n".join(f"- {name}: {reason}" for name, reason in measuring.left_out.items())
    return "\n\n".join(
        filter(
            None,
            [
                "# What measures are worth where the truth is known",
                "Written by `python -m research.study agreement`. The measures are those of `bytheway score`, on "
                "diorama's clips; the truth is what the judge and the outlines read of them, which know the world. "
                "ρ is Spearman's, with its bootstrap 95 % interval, in bold where that leaves out zero: *over clips*, "
                "whether a measure tells a better clip from a worse one; *over changes*, whether it tells in which "
                "clips of a prompt and seed the preset made things better or worse. A measure of structure should "
                "rise with confidence and fall with misshapen; one of motion should rise with the motion range.",
                *(f"## {model}, {one.n} clips\n\n{tables.agreement(one)}" for model, one in found.items() if one),
                f"Left out, since there was no network for them:\n\n{left_out}" if left_out else "",
            ],
        )
    )


def _heading(results: Results) -> str:
    sampling = results.sampling
    lines = [(run.command, run.date, run.hardware, run.versions) for run in runs(results.out)]
    return "\n\n".join(
        [
            "# What ByTheWay does to diorama: figures",
            "Written by `python -m research.study report`; nothing here is typed by hand. Measured by the judge "
            f"`{results.judge}` (the first digits of its weights' SHA-256) on clips of {sampling.steps} steps at "
            f"guidance {sampling.guidance:g}; clip i has seed {sampling.seed} + i. Prompts are half trained, "
            "half unseen combinations. Square brackets: bootstrap 95 % intervals over prompts; differences are paired "
            "by prompt and seed, and in bold where their interval leaves out zero. No correction is made for there "
            "being many.",
            f"The paper's settings: alpha {PAPER.alpha:g}, beta {PAPER.beta:g}, tau {PAPER.tau}, the first "
            f"{100 * PAPER.active_steps:g} % of the steps; for VideoCrafter2 alpha {PAPER_VIDEOCRAFTER.alpha:g}, beta "
            f"{PAPER_VIDEOCRAFTER.beta:g}. Sweeps, and the presets chosen by them, have other prompts and seeds than "
            "all else.",
            "All runs there have been, oldest first. A clip that is made is kept, and a later run makes only what is "
            "missing; which of them made it is not noted. `0+unknown` is a copy of the code without its history.",
            table(["command", "date", "hardware", "versions"], dict.fromkeys(lines)),
        ]
    )


def _claim(found: dict[str, Comparison]) -> str:
    """The claim, as it was put before anything was measured, and whether it holds."""
    changes = {model: comparison.differences.get(PRESET) for model, comparison in found.items()}
    if None in changes.values() or not changes:
        return ""
    verdicts = []
    for model, change in changes.items():
        assert change is not None
        dynamic, broken = change["dynamic"], change["broken"]
        verdict = "helps" if dynamic.low > 0 and broken.high < 0 else "does harm" if _harms(change) else "neither"
        verdicts.append([model, tables.figure(dynamic, "%", bold=True), tables.figure(broken, "%", bold=True), verdict])
    outcomes = [line[-1] for line in verdicts]
    holds = "helps" in outcomes and "does harm" not in outcomes
    return _section(
        "The claim",
        "Stated before the run: *with its preset the method raises the dynamic degree and lowers the broken share, "
        "both intervals off zero, on at least one of the two models, and does no harm on the other.* Harm is a dynamic "
        "degree that falls, or a broken or misshapen share that rises, its interval off zero.",
        table(["", "dynamic degree", "broken", "with its preset, the method"], verdicts),
        f"The claim **{'holds' if holds else 'does not hold'}**.",
    )


def _harms(change: Mapping[str, Estimate]) -> bool:
    return change["dynamic"].high < 0 or change["broken"].low > 0 or change["misshapen"].low > 0


def _cells(found: dict[str, Comparison], to: Path) -> str:
    if not found:
        return ""
    figures.differences(to / "differences.png", found)
    return _section(
        "Structure, motion and accuracy",
        "*Both*: the paper's settings for AnimateDiff; *guidance only*: these with beta 1, where the adaptive rule "
        "still gives back the energy that guidance takes; *motion only*: these with alpha 0. *Renders*: true clips of "
        "the same scenes, what a perfect model would score. *Confidence*: the mean probability that the judge gives "
        "the subject it sees in the clip as a whole; "
        "*broken*: more than 2 of 16 frames in which it is less than half sure of it; *misshapen*: more than 2 frames "
        "in which what a second network takes for the subject has no outline that the renderer draws; *consistency*: "
        "cosine between the judge's features of frames; *area*: deviation of the subject's area, relative to it; "
        "*motion range*: largest distance between two positions of its centre; *near-static*: below "
        f"{STATIC_PIXELS:g} px; *jerk*: mean third difference of its track; *optical flow*: pyramidal Lucas-Kanade, "
        "mean over pixels and frames; *dynamic degree*: clips that move by VBench's rule, on this flow in place of "
        f"RAFT's, with a threshold of {FAST:g} px, which about half of the renders of prompts that move exceed "
        "(VBench's is 1.5 px on frames of this size, which nearly all clips exceed).",
        "*Fréchet distances* are between Gaussians fitted to the judge's features of these clips and of "
        f"{REFERENCE.copies} renders of each of their scenes: of the frames' features (mean over a clip) and of the "
        "features of their succession. They are in the judge's own units and are **not FVD**; less the bias "
        "that the bootstrap finds, with its basic intervals, prompts resampled for clips and renders at once.",
        "![Differences to vanilla](differences.png)",
        *_by_model(found, lambda model: f"In short:\n\n{tables.summary(found[model])}\n\n{_compared(found[model])}"),
    )


def _sheets(results: Results, models: Mapping[str, str], to: Path) -> str:
    written = write_sheets(results, {name: source for name, source in models.items() if name in results.models}, to)
    if not written:
        return ""
    return _section(
        "Clips",
        "The first prompts of the study, none left out and none chosen: every second frame, the variants of a prompt "
        "from the same seed.",
        *(f"{caption}\n\n![{caption}]({name})" for name, caption in written.items()),
    )


def _swept(results: Results, model: str) -> dict[Axis, Comparison]:
    """The sweeps that have more than the points they share with the cells."""
    shared = set(cells(model).values())
    found = {axis: results.sweep(model, axis, SWEPT) for axis in Axis}
    return {
        axis: comparison
        for axis, comparison in found.items()
        if comparison and any(sweep(axis)[point] not in shared for point in comparison.differences)
    }


def _sweeps(found: dict[str, dict[Axis, Comparison]], best: dict[str, Choice], to: Path) -> str:
    if not found:
        return ""
    pictures = []
    for name, (caption, axes) in SWEEP_PICTURES.items():
        drawn = [axis for axis in axes if any(axis in sweeps for sweeps in found.values())]
        if drawn:
            figures.sweeps(to / name, found, drawn, DRAWN)
            pictures.append(f"![{caption}]({name})")
    return _section(
        "Sweeps",
        "One of the paper's settings varied, the others as they are, and alpha and beta together; differences to "
        "vanilla on the same prompts, some of them as pictures.",
        *pictures,
        "**The rule of the preset**: of all these settings, those under which subject and motion follow the prompt no "
        "less often than in vanilla clips and no more clips are broken or misshapen, in the mean over the prompts that "
        "all of them have; of these the one that adds most to the dynamic degree and takes most from the broken share, "
        "in their sum.",
        *(f"{model}: {tables.choice(choice)}" for model, choice in best.items()),
        *(
            f"### {model}: {axis}, {comparison.n} prompts\n\n{tables.sweep(comparison, SWEPT, paper_point(axis))}"
            for model, sweeps in found.items()
            for axis, comparison in sweeps.items()
        ),
    )


def _regime(found: dict[str, Attention], compared: dict[str, Comparison]) -> str:
    if not found:
        return ""
    return _section(
        "Are these models that the method is for?",
        "What the paper shows of AnimateDiff (read off its Figure 2) and what is found of vanilla clips here, energies "
        "over the active steps. ρ is Spearman's, over clips; the good half are the clips in which the judge is more "
        "confident of the subject.",
        tables.regime(found, compared),
    )


def _attention(found: dict[str, Attention], to: Path) -> str:
    if not found:
        return ""
    figures.disparity(to / "disparity.png", found)
    structure = {model: attention.structure_by_step for model, attention in found.items()}
    motion = {model: attention.motion_by_step for model, attention in found.items()}
    figures.correlations(to / "structure.png", structure, "disparity and confidence, vanilla")
    figures.correlations(to / "energy.png", motion, "energy and optical flow, vanilla")
    texts = [
        "Maps of the first prompts' clips, those conditioned on the prompt; block means over the active steps (grey in "
        "the pictures) where no step is named. ρ is Spearman's, over clips.",
        "**Disparity and structure** (Figure 2a: the larger the disparity to the anchor block, the worse the "
        "structure; 2b: it falls under the method). The good half are the clips in which the judge is more confident "
        "of the subject. *As made*: of the maps that the model makes under the paper's settings; *as guided*: of those "
        "it uses.",
        "![Disparity over the steps](disparity.png)\n\n![Correlation with structure](structure.png)",
        *_by_model(found, lambda model: f"{found[model].n} clips:\n\n{tables.disparity(found[model])}"),
        "**Energy and motion** (Figure 2c: the more energy, the more motion).",
        "![Correlation of energy with motion](energy.png)",
        *_by_model(found, lambda model: tables.energy(found[model])),
    ]
    guided = {model: attention for model, attention in found.items() if attention.guidance}
    if guided:
        texts += [
            "**Energy under guidance** (Figure 12), under the paper's settings in their active steps: of the maps as "
            "the model makes them, once they are guided, and as they are used, guided and amplified. *Beta at its "
            f"least*: maps for which beta {PAPER.beta:g} is enough to leave no less energy than there was. The energy "
            "of the guided maps is reckoned from that of the used ones: all but DC is amplified by beta, and the "
            f"energy of DC is that of a flat map, 1/{NUM_FRAMES}.",
            *_by_model(guided, lambda model: f"{guided[model].n} clips:\n\n{tables.guidance(guided[model])}"),
        ]
    enhanced = {model: attention for model, attention in found.items() if attention.beta_by_step}
    if enhanced:
        figures.beta(to / "beta.png", enhanced)
        texts += [
            "**The adaptive beta** (Figure 12) over steps and blocks, a mean over clips; of the paper's settings in "
            "all steps, where that was run.",
            "![The adaptive beta](beta.png)",
            *_by_model(enhanced, lambda model: tables.beta(enhanced[model])),
        ]
    return _section("Attention maps", *texts)


def _bands(found: dict[str, Comparison]) -> str:
    if not found:
        return ""
    return _section(
        "Bands of the temporal attention",
        "The decoder's temporal attention, in all steps, with only the low band of its maps (DC, as tau is), only the "
        "high one, or the high one amplified by the paper's beta (Figure 5: near-static; moving but unstable; rich "
        "motion).",
        *_by_model(found, lambda model: _compared(found[model])),
    )


def _compared(comparison: Comparison) -> str:
    means = f"Means over {comparison.n} prompts:\n\n{tables.values(comparison)}"
    return f"{means}\n\nDifferences to vanilla, same prompts:\n\n{tables.differences(comparison)}"


def _each(results: Results, find: Callable[[str], Found | None]) -> dict[str, Found]:
    """What is found of each model that has it."""
    every = {model: find(model) for model in results.models}
    return {model: found for model, found in every.items() if found}


def _by_model(found: Mapping[str, object], text: Callable[[str], str]) -> list[str]:
    return [f"### {model}\n\n{text(model)}" for model in found]


def _section(title: str, *texts: str) -> str:
    return "\n\n".join([f"## {title}", *texts])
