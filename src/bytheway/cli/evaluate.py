"""`bytheway evaluate`: the same prompts under several arms, made, measured and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.measuring import Brought, Device, FlowNetwork, MeasureBatch, MeasureDtype, Names, Offline, Weights
from bytheway.cli.options import (
    JUDGE,
    Address,
    BatchSize,
    Dtype,
    GuidanceScale,
    JudgeEndpoint,
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

CLIPS, RESULTS = "Clips", "Results"


def _suites() -> list[str]:
    """What a shell completes --suite to."""
    from bytheway.evaluation.suites import SUITES

    return list(SUITES)


def command(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where clips, scores, table and page go. A folder that is there goes on where it stopped.",
            rich_help_panel=RESULTS,
        ),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Prompts from a text file, one a line.", rich_help_panel=CLIPS),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Prompts that ship with the package: diorama (32, for the packaged model), vbench (165: "
            "vbench-subject, 72, which vbench-motion names too, and vbench-aesthetic, 93), vbench-background (86) or "
            "vbench-flickering (75).",
            autocompletion=_suites,
            rich_help_panel=CLIPS,
        ),
    ] = None,
    arms: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="What is compared, separated by commas, the baseline first: vanilla, enhanced (the model's preset), "
            "freeinit, or settings that differ from the preset, such as 'alpha=0.4 beta=3'.",
            rich_help_panel=CLIPS,
        ),
    ] = "vanilla,enhanced",
    seeds: Annotated[int, typer.Option(metavar="N", help="Clips for every prompt and arm.", rich_help_panel=CLIPS)] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of each prompt's first clip.", rich_help_panel=CLIPS)] = 0,
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
    workers: Workers = None,
    address: Address = None,
    table2: Annotated[
        bool,
        typer.Option(
            "--table2", help="Also show the paper's Table 2 beside, and what differs.", rich_help_panel=RESULTS
        ),
    ] = False,
    judge_model: Annotated[
        str | None,
        typer.Option(
            "--judge-model",
            metavar="NAME",
            help="Let this model judge the clips at the end, as bytheway judge does: its full name at the endpoint.",
            rich_help_panel=JUDGE,
        ),
    ] = None,
    endpoint: JudgeEndpoint = None,
    names: Names = None,
    measure_device: Device = None,
    weights: Weights = None,
    flow: FlowNetwork = None,
    bring: Brought = None,
    measure_dtype: MeasureDtype = None,
    measure_batch: MeasureBatch = 8,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Make the same clips in several ways, measure them, and tell what is more than chance: a table and a page."""
    with reported(), silence(quiet):
        from bytheway.cli.batch_run import Crew
        from bytheway.cli.experiment import run_experiment
        from bytheway.cli.measuring import complain, measure_choice
        from bytheway.cli.prompts import read_prompts
        from bytheway.cli.run import ModelChoice, size_of
        from bytheway.cli.tables import warn
        from bytheway.errors import ByTheWayError
        from bytheway.evaluation.experiment.arms import parse_arms
        from bytheway.evaluation.experiment.folder import Experiment
        from bytheway.evaluation.suites import prompts_of
        from bytheway.generation.request import Request

        if (prompts is None) == (suite is None):
            raise ByTheWayError("Give either a file of prompts (--prompts) or a suite (--suite).")
        chosen = read_prompts(prompts) if prompts is not None else prompts_of(suite or "")
        width, height = size_of(size)
        request = Request(
            prompts=tuple(dict.fromkeys(chosen)),
            seed=seed,
            negative_prompt=negative_prompt,
            num_videos=seeds,
            num_frames=frames,
            width=width,
            height=height,
            steps=steps,
            guidance_scale=guidance_scale,
            batch_size=batch_size,
        )
        experiment = Experiment(output, parse_arms(arms), request.prompts, seeds)
        if judge_model is not None:
            from bytheway.cli.judging import judge_experiment
            from bytheway.evaluation.judge.endpoint import check_endpoint

            check_endpoint(endpoint)  # before hours of work, not after them
        left_out = run_experiment(
            experiment,
            ModelChoice(model, motion_adapter, tuple(lora or ()), device, dtype),
            request,
            Crew(address, workers),
            measure_choice(
                names, measure_device, weights, flow, bring, dtype=measure_dtype, batch=measure_batch, offline=offline
            ),
            table2=table2,
        )
        if judge_model is not None:
            for sentence in left_out:
                warn(sentence)
            judge_experiment(experiment, judge_model, endpoint)
        complain(left_out, "The rest is compared")
