"""``python -m research.study``: what ByTheWay does to diorama.

``run`` makes clips and reads them, and goes on where it was broken off, however that was; ``report`` writes tables and
pictures from what there is; ``swap`` does both for one question alone: when layout and motion are decided;
``agreement`` holds the measures of `bytheway score` against what is known of the world.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.errors import ByTheWayError
from bytheway.files import check_file, write_text
from research.study.agreement import Measuring
from research.study.plan import Extent, Part, plan
from research.study.reading import open_readers
from research.study.report import agreements, swaps, write
from research.study.results import Results
from research.study.sampling import Sampling
from research.study.store import check, count_unread
from research.study.work import Study, run

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"
MODELS = ("diorama", "diorama-early")

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

Out = Annotated[Path, typer.Option(help="Folder of the results.")]
JudgeFolder = Annotated[Path, typer.Option("--judge", help="Folder of judge.safetensors and outlines.safetensors.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="A packaged model or a folder of its kind. Both by default.")
]
Seed = Annotated[int, typer.Option(help="Of the prompts and of the first clip.")]
Steps = Annotated[int, typer.Option(min=1, help="Denoising steps.")]
Minutes = Annotated[float, typer.Option(help="Begin nothing after this time; the same command goes on.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes on the CPU, one thread each.")]
To = Annotated[Path, typer.Option(help="Folder of the tables and pictures.")]

RUNS = Path("runs/study")
JUDGE = Path("runs/diorama/judge")


def _named(models: Sequence[str] | None) -> dict[str, str]:
    """Each model by its name: a folder's is its own."""
    named = {Path(model).absolute().name: model for model in models or MODELS}
    if models and len(named) < len(models):
        raise ByTheWayError("Two models have the same name; give one of the folders another.")
    return named


def _run(study: Study, parts: list[Part], extent: Extent, minutes: float, processes: int) -> None:
    units = plan(study.models, parts, extent)
    chosen = " ".join(f"--part {part}" for part in parts)
    sizes = f"--clips {extent.clips} --subset {extent.subset} --pairs {extent.pairs}"
    models = " ".join(f"--model {name}" for name in study.models)
    sampling = f"--seed {study.sampling.seed} --steps {study.sampling.steps}"
    asked = replace(study, command=f"python -m research.study run {chosen} {sizes} {models} {sampling}")
    left = run(asked, units, processes, minutes)
    print(f"{left} of {len(units)} units are left; the same command goes on." if left else "Everything is done.")


@app.command("run")
@reported()
def run_command(
    out: Out = RUNS,
    judge: JudgeFolder = JUDGE,
    models: Models = None,
    part: Annotated[list[Part] | None, typer.Option(help="Parts to do; may be given again. All by default.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each cell.")] = Extent.clips,
    subset: Annotated[int, typer.Option(min=1, help="Of these, for bands and sweeps.")] = Extent.subset,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of prompts to swap.")] = Extent.pairs,
    seed: Seed = Sampling.seed,
    steps: Steps = Sampling.steps,
    minutes: Minutes = float("inf"),
    processes: Processes = 2,
) -> None:
    """Make clips and read them."""
    study = Study(out, judge, _named(models), Sampling(seed=seed, steps=steps))
    _run(study, part or list(Part), Extent(clips, subset, pairs), minutes, processes)


@app.command("report")
@reported()
def report_command(out: Out = RUNS, judge: JudgeFolder = JUDGE, models: Models = None, to: To = EVIDENCE) -> None:
    """Write tables and pictures from the results there are."""
    check_file(to / "results.md")
    judge_name = open_readers(judge).name
    results, named = Results(out, judge_name), _named(models)
    check(out, {name: source for name, source in named.items() if name in results.models})
    unread = count_unread(out, judge_name)
    if unread:
        print(f"{unread} blocks of clips are not read by this judge; repeat the run that made them.", file=sys.stderr)
    write(results, named, to)
    print(f"Written to {to}.")


@app.command("swap")
@reported()
def swap_command(
    out: Out = RUNS,
    judge: JudgeFolder = JUDGE,
    models: Models = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of prompts.")] = Extent.pairs,
    seed: Seed = Sampling.seed,
    steps: Steps = Sampling.steps,
    minutes: Minutes = float("inf"),
    processes: Processes = 2,
    to: To = EVIDENCE,
) -> None:
    """When layout and motion are decided: swap prompts after k steps; writes swap.md and its curves, swap.png."""
    check_file(to / "swap.md")
    study = Study(out, judge, _named(models), Sampling(seed=seed, steps=steps))
    _run(study, [Part.SWAP], Extent(pairs=pairs), minutes, processes)
    found = swaps(Results(out, open_readers(judge).name), to)
    if found:
        write_text(to / "swap.md", found + "\n")
        print(found)


@app.command("agreement")
@reported()
def agreement_command(
    out: Out = RUNS,
    judge: JudgeFolder = JUDGE,
    models: Models = None,
    clips: Annotated[int, typer.Option(min=1, help="Of vanilla, and of the preset.")] = 256,
    to: To = EVIDENCE,
) -> None:
    """Whether the measures of `bytheway score` agree with what is known of the world; writes agreement.md."""
    check_file(to / "agreement.md")
    results, named = Results(out, open_readers(judge).name), _named(models)
    named = {name: source for name, source in named.items() if name in results.models}
    check(out, named)
    page = agreements(Measuring(results), named, clips)
    write_text(to / "agreement.md", page + "\n")
    print(page)


if __name__ == "__main__":
    app()
