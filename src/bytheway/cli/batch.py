"""`bytheway batch`: a list of clips, made by one process or by many workers, each clip once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.options import (
    WORKERS,
    Address,
    BatchSize,
    Dtype,
    GuidanceScale,
    Loras,
    ModelDevice,
    ModelName,
    MotionAdapter,
    NegativePrompt,
    NumFrames,
    Quiet,
    Size,
    Steps,
    Workers,
)
from bytheway.cli.tables import quiet as silence

CLIPS = "Clips"


def command(
    jobs: Annotated[
        Path,
        typer.Argument(
            metavar="JOBS",
            help="Prompts, one a line; or .csv, .jsonl or .parquet with a column prompt and any settings as columns.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A folder, or an address such as s3://bucket/clips. Clips are OUT/<arm>/<id>.mp4; those that are "
            "there are not made again.",
        ),
    ],
    seeds: Annotated[int, typer.Option(metavar="N", help="Clips for every row and arm.", rich_help_panel=CLIPS)] = 1,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Of each row's first clip, where the row has none.", rich_help_panel=CLIPS)
    ] = 0,
    arms: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Ways of making the clips of each row, separated by commas: enhanced (the model's preset), vanilla, "
            "freeinit, or settings that differ from the preset, such as 'alpha=0.4 beta=3'.",
            rich_help_panel=CLIPS,
        ),
    ] = "enhanced",
    steps: Steps = None,
    guidance_scale: GuidanceScale = None,
    negative_prompt: NegativePrompt = None,
    frames: NumFrames = None,
    size: Size = None,
    batch_size: BatchSize = 1,
    model: ModelName = "diorama",
    motion_adapter: MotionAdapter = None,
    lora: Loras = None,
    device: ModelDevice = None,
    dtype: Dtype = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Make the I-th of N equal shares in this process, I from 1, as in an array of jobs; no Ray.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    workers: Workers = None,
    address: Address = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="X",
            help="0.5: two workers share a GPU and its memory. Default: 1 where there are GPUs, else 0.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    cpus_per_worker: Annotated[
        int, typer.Option(min=1, metavar="N", help="Threads of each.", rich_help_panel=WORKERS)
    ] = 1,
    attempts: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Until a clip is set aside with its error.", rich_help_panel=WORKERS),
    ] = 3,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, load the model, say what would be made, and stop.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Make a list of clips, here or on a cluster, each once; the same command goes on where it was stopped.

    Ends with 0 when all clips are there, 1 when some were set aside, 130 after Ctrl-C.
    """
    with reported(), silence(quiet):
        from bytheway.batch.plan import Shard, Sweep
        from bytheway.batch.rows import checked_settings
        from bytheway.cli.batch_run import Crew, rows_as_they_are, run_batch
        from bytheway.cli.run import ModelChoice, size_of
        from bytheway.evaluation.experiment.arms import parse_arms

        width, height = size_of(size)
        given = {
            "seed": seed,
            "negative_prompt": negative_prompt,
            "num_frames": frames,
            "width": width,
            "height": height,
            "steps": steps,
            "guidance_scale": guidance_scale,
        }
        with rows_as_they_are(jobs) as rows:
            code = run_batch(
                rows,
                output,
                Sweep(parse_arms(arms, fewest=1), seeds, checked_settings(given)),
                ModelChoice(model, motion_adapter, tuple(lora or ()), device, dtype),
                Crew(address, workers, gpus_per_worker, cpus_per_worker),
                batch_size=batch_size,
                shard=Shard.parse(shard) if shard is not None else None,
                attempts=attempts,
                is_dry=dry_run,
            )
        raise typer.Exit(code)
