"""What `bytheway evaluate` does with its options."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing, redirect_stdout
from functools import partial
from typing import Any

from bytheway.batch.driver import Driver, Tally, first_worker
from bytheway.batch.experiment import SetAside, batches_of, left_of
from bytheway.batch.plan import Task
from bytheway.cli.batch_run import Crew, interrupts
from bytheway.cli.measuring import load_measures, memory_named
from bytheway.cli.progress import BatchProgress, CountProgress, MakingProgress
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
from bytheway.generation.free_init import FREE_INIT_ITERATIONS
from bytheway.generation.job import Job
from bytheway.generation.request import Request


def run_experiment(
    experiment: Experiment,
    choice: ModelChoice,
    request: Request,
    crew: Crew,
    measures: MeasureChoice,
    *,
    table2: bool,
) -> list[str]:
    """Make the clips that are missing, measure those that are not measured, and write what they say.

    Returns:
        What could not be compared, in sentences.
    """
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
        make_missing = partial(_make_by_crew, crew) if crew.is_ray else _make
        make_missing(experiment, choice, request, asked, there)
        with memory_named():
            loaded, _ = measures.load()
    return _report(experiment, choice, measures, loaded, table2=table2)


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
    arms = {
        arm.name: {
            "folder": arm.folder,
            "config": job.request.config.to_dict() if job.request.config else None,
            "free_init_iterations": job.free_init_iterations,
        }
        for arm, job in jobs.items()
    }
    made_with = {"pipeline": profile.pipeline, "preset": profile.preset.name, **_sampled(first)}
    _write_facts(experiment, request, {**facts, "made with": made_with, "arms": arms})
    total = len(experiment.names()) * len(experiment.arms)
    done = _say_there(total, sum(len(chunk.clips) for chunk in left))
    with MakingProgress(sum(chunk.steps for chunk in left), done, total) as progress:
        for chunk in left:
            progress.begin(chunk.arm.name, chunk.clips[0].prompt)
            for _ in make(pipe, chunk, choice.settings(), progress):
                progress.made()
            progress.finish(chunk.steps)


def _make_by_crew(
    crew: Crew,
    experiment: Experiment,
    choice: ModelChoice,
    request: Request,
    asked: dict[str, Any],
    there: dict[str, Any] | None,
) -> None:
    """Have workers load the model and make the clips that are not there."""
    total = len(experiment.names()) * len(experiment.arms)
    with redirect_stdout(sys.stderr), closing(crew.pool(choice, str(experiment.folder))) as pool:
        first = first_worker(pool, note)
        own = {"model": asked["model"] | {"weights": first.facts.weights}, "sampling": asked["sampling"]}
        if there is not None:
            on_disk.check_same(experiment.folder, there, own)
        batches = list(batches_of(experiment, request, first.facts))
        left = list(left_of(experiment, iter(batches), choice.settings()))
        tasks = {task.arm: task for batch in batches for task in batch.tasks}
        free_init = first.facts.free_init_iterations
        arms = {
            arm.name: {
                "folder": arm.folder,
                "config": tasks[arm.folder].config,
                "free_init_iterations": free_init or (FREE_INIT_ITERATIONS if arm.free_init else None),
            }
            for arm in experiment.arms
        }
        made_with = {
            "pipeline": first.facts.pipeline,
            "preset": first.facts.preset_name,
            **_sampled(batches[0].tasks[0]),
        }
        _write_facts(experiment, request, {**own, "made with": made_with, "arms": arms})
        tally = Tally(total, _say_there(total, sum(len(batch.wanted()) for batch in left)))
        set_aside = SetAside()
        with BatchProgress(tally) as progress, interrupts() as is_stopped:
            Driver(pool, first, iter(left), tally, set_aside, note=note, on_turn=progress).run(is_stopped)
            if is_stopped() and tally.left:
                raise KeyboardInterrupt
    if set_aside.said:
        count = len(set_aside.said)
        raise ByTheWayError(
            f"{count} of {total} clips cannot be made; the same command tries them again. The first: "
            f"{set_aside.said[0]}"
        )


def _sampled(one: Job | Task) -> dict[str, Any]:
    """How clips are sampled, of which the experiment tells."""
    names = ("num_frames", "width", "height", "steps", "guidance_scale", "fps")
    return {name: getattr(one, name) for name in names}


def _write_facts(experiment: Experiment, request: Request, facts: dict[str, Any]) -> None:
    seeds = [request.seed + k for k in range(experiment.seeds)]
    on_disk.write_facts(experiment.folder, {**facts, "seeds": seeds, "prompts": list(experiment.prompts)})


def _say_there(total: int, left: int) -> int:
    """How many clips are there already."""
    if left < total:
        note(f"{total - left} of {total} clips are there already.")
    return total - left


def _report(
    experiment: Experiment, choice: ModelChoice, wanted: MeasureChoice, measures: Sequence[Measure], *, table2: bool
) -> list[str]:
    """Measure what is not measured yet, and say and write what was found; what was left out is returned."""
    scores: dict[str, list[ClipScores]] = {}
    by_path, failures = {}, []
    with CountProgress("measuring", len(experiment.names()) * len(experiment.arms)) as progress:
        for arm in experiment.arms:
            scores[arm.name] = []
            for path in experiment.clips(arm):
                progress.begin(f"{arm.name}: {path.stem}")
                try:
                    with memory_named(path):
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
    return list(dict.fromkeys(sentence for one in comparisons for sentence in one.left_out))
