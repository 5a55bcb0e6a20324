"""What `bytheway evaluate` does with its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bytheway.cli.measuring import complain, load_measures
from bytheway.cli.progress import CountProgress, MakingProgress
from bytheway.cli.run import ModelChoice, warn_before
from bytheway.cli.tables import note, print_table
from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.experiment import folder as on_disk
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.experiment.make import jobs_of, make, missing
from bytheway.evaluation.experiment.results import PAGE, arm_rows, write_results
from bytheway.evaluation.experiment.scoring import compared, kept_or_measured
from bytheway.evaluation.measures.measure import Measure
from bytheway.evaluation.paper import HEADS, table_2, what_differs
from bytheway.evaluation.report.words import cautions, comparison_heads, comparison_rows
from bytheway.evaluation.scores import ClipScores
from bytheway.files import check_writable
from bytheway.generation.request import Request


def run_experiment(
    experiment: Experiment, choice: ModelChoice, request: Request, measures: MeasureChoice, *, table2: bool
) -> None:
    """Make the clips that are missing, measure those that are not measured, and write what they say."""
    folder = experiment.folder
    check_writable(folder)
    there = on_disk.read_facts(folder)
    asked = {
        "model": choice.settings() | {"dtype asked for": choice.dtype},
        "sampling": {
            "seed": request.seed,
            "steps asked for": request.steps,
            "guidance_scale asked for": request.guidance_scale,
            "negative_prompt": request.negative_prompt,
            "num_frames asked for": request.num_frames,
            "size asked for": [request.width, request.height],
        },
    }
    if there is not None:
        on_disk.check_same(folder, there, asked)
    loaded = load_measures(measures)  # what is missing is said before hours of work, not after them
    if there is None or not experiment.complete:
        del loaded  # the memory is the model's meanwhile
        _make(experiment, choice, request, asked, there)
        loaded, _ = measures.load()
    _report(experiment, choice, measures, loaded, table2=table2)


def _make(
    experiment: Experiment, choice: ModelChoice, request: Request, asked: dict[str, Any], there: dict[str, Any] | None
) -> None:
    """Load the model and make the clips that are not there."""
    from bytheway.evaluation.provenance import fingerprint
    from bytheway.models.profile import profile_of

    pipe = choice.load()
    profile = profile_of(pipe)
    jobs = jobs_of(experiment.arms, request, profile)
    facts = {
        "model": asked["model"] | {"weights": fingerprint(pipe.components)},
        "sampling": asked["sampling"],
    }
    if there is not None:
        on_disk.check_same(experiment.folder, there, facts)
    first = next(iter(jobs.values()))
    warn_before(first, profile, choice.model)
    left = missing(pipe, experiment, jobs, choice.settings())
    on_disk.write_facts(
        experiment.folder,
        {
            **facts,
            "made with": {
                "pipeline": profile.pipeline,
                "preset": profile.preset.name,
                "num_frames": first.num_frames,
                "width": first.width,
                "height": first.height,
                "steps": first.steps,
                "guidance_scale": first.guidance_scale,
                "fps": first.fps,
            },
            "arms": {
                arm.name: {
                    "folder": arm.folder,
                    "config": job.request.config.to_dict() if job.request.config else None,
                    "free_init_iterations": job.free_init_iterations,
                }
                for arm, job in jobs.items()
            },
            "seeds": [request.seed + k for k in range(experiment.seeds)],
            "prompts": list(experiment.prompts),
        },
    )
    total = len(experiment.names()) * len(experiment.arms)
    done = total - sum(len(chunk.clips) for chunk in left)
    if done:
        note(f"{done} of {total} clips are there already.")
    with MakingProgress(sum(chunk.steps for chunk in left), done, total) as progress:
        for chunk in left:
            progress.begin(chunk.arm.name, chunk.clips[0].prompt)
            for _ in make(pipe, chunk, choice.settings(), progress):
                progress.made()
            progress.finish(chunk.steps)


def _report(
    experiment: Experiment, choice: ModelChoice, wanted: MeasureChoice, measures: Sequence[Measure], *, table2: bool
) -> None:
    """Measure what is not measured yet, and say and write what was found."""
    scores: dict[str, list[ClipScores]] = {}
    by_path, failures = {}, []
    with CountProgress("measuring", len(experiment.names()) * len(experiment.arms)) as progress:
        for arm in experiment.arms:
            scores[arm.name] = []
            for path in experiment.clips(arm):
                progress.begin(f"{arm.name}: {path.stem}")
                try:
                    found = kept_or_measured(path, measures, wanted)
                except ByTheWayError as error:
                    failures.append(str(error))
                else:
                    by_path[path] = found
                    scores[arm.name].append(found)
                    failures += [f"{path}: {reason}" for reason in dict.fromkeys(found.failed.values())]
                progress.advance()
    comparisons = compared(experiment, by_path, failures)
    print_table(("measure", *scores), arm_rows(scores))
    for one in comparisons:
        print_table(comparison_heads(one), comparison_rows(one))
    for sentence in dict.fromkeys(sentence for one in comparisons for sentence in cautions(one)):
        note(sentence)
    paper = None
    if table2:
        paper = HEADS, table_2(scores, choice.model), what_differs(scores, choice.model)
        print_table(*paper[:2])
        for sentence in paper[2]:
            note(sentence)
    with CountProgress("writing the page", 0) as progress:
        write_results(experiment, scores, comparisons, model=choice.model, paper=paper, on_strip=progress.reach)
    note(f"{experiment.folder / PAGE} shows it.")
    complain(list(dict.fromkeys(s for one in comparisons for s in one.left_out)), "The rest is compared")
