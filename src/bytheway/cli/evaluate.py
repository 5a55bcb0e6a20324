"""`bytheway evaluate`: the same prompts under several arms, made, measured and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.measuring import Brought, Device, FlowNetwork, Names, Weights
from bytheway.cli.tables import quiet as silence

MODEL, CLIPS, RESULTS = "Model", "Clips", "Results"


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
            help="Prompts that ship with the package: diorama (32, for the packaged model), vbench (165), "
            "vbench-subject (72) or vbench-aesthetic (93).",
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
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Denoising steps.", rich_help_panel=CLIPS, show_default="the model's"),
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(metavar="X", help="Of the prompt; 1 is none.", rich_help_panel=CLIPS, show_default="the model's"),
    ] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the clips shall not show.", rich_help_panel=CLIPS)
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(metavar="N", help="Frames of a clip.", rich_help_panel=CLIPS, show_default="the model's"),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="In pixels.", rich_help_panel=CLIPS, show_default="the model's")
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(metavar="N", help="Clips made at once; each needs memory of its own.", rich_help_panel=CLIPS),
    ] = 1,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A name (see bytheway models), hub id, folder or checkpoint file.",
            rich_help_panel=MODEL,
        ),
    ] = "diorama",
    motion_adapter: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Motion modules for an image model: hub id, folder or file.", rich_help_panel=MODEL
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]", help="A LoRA: hub id, folder or file. Repeatable.", rich_help_panel=MODEL
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, mps. Default: the fastest one.", rich_help_panel=MODEL),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="float32, float16 or bfloat16. Default: float16 on CUDA, float32 elsewhere.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    table2: Annotated[
        bool,
        typer.Option(
            "--table2", help="Also show the paper's Table 2 beside, and what differs.", rich_help_panel=RESULTS
        ),
    ] = False,
    names: Names = None,
    measure_device: Device = None,
    weights: Weights = None,
    flow: FlowNetwork = None,
    bring: Brought = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.", rich_help_panel=RESULTS)
    ] = False,
) -> None:
    """Make the same clips in several ways, measure them, and tell what is more than chance: a table and a page."""
    with reported(), silence(quiet):
        from bytheway.cli.experiment import run_experiment
        from bytheway.cli.measuring import measure_choice
        from bytheway.cli.prompts import read_prompts
        from bytheway.cli.run import ModelChoice, size_of
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
        run_experiment(
            Experiment(output, parse_arms(arms), request.prompts, seeds),
            ModelChoice(model, motion_adapter, tuple(lora or ()), device, dtype),
            request,
            measure_choice(names, measure_device, weights, flow, bring),
            table2=table2,
        )
