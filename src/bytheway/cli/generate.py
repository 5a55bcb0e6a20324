"""`bytheway generate`: from prompts to clips."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from bytheway.cli.errors import reported
from bytheway.cli.options import (
    SAMPLING,
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
)
from bytheway.cli.tables import quiet as silence

OUTPUT, START, METHOD = "Output", "Start", "Method"


def _presets() -> list[str]:
    """What a shell completes --preset to."""
    from bytheway.families.known import presets

    return list(presets())


def command(
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What the clip shows; one clip for each.")
    ] = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Prompts from a text file, one a line; lines that begin with # are comments. Their clips are "
            "0001.mp4, 0002.mp4, ... in the folder --output (default: the file's name without its ending).",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to: .mp4, .gif, .webp, or no ending for a folder of PNGs. Several clips become FILE-1, FILE-2, "
            "... Default: an mp4 named after prompt and seed.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    kind: Annotated[
        Literal["mp4", "gif", "webp", "png"] | None,
        typer.Option(
            "--format",
            help="Of clips whose file names are not given; png is a folder each. Default: mp4.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="N", help="Frames a second.", rich_help_panel=OUTPUT, show_default="the model's"),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Enlarge the saved frames N times; 1 keeps the model's pixels. Default: videos are enlarged to at "
            "least 256 pixels, PNGs are not.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace files that are there. Without it only a clip of bytheway is replaced, by one of its prompt.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Leave alone the clips that are there as they would be made, and make the others.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    quiet: Quiet = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Save energy, disparity and beta of every active step and site, as .csv or .jsonl.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Make every clip twice from the same seed, and save vanilla and enhanced side by side.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    model: ModelName = "diorama",
    motion_adapter: MotionAdapter = None,
    lora: Loras = None,
    device: ModelDevice = None,
    dtype: Dtype = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[@FRAME]",
            help="An image that the clip shows in that frame, 0 by default, -1 for the last. Repeatable.",
            rich_help_panel=START,
        ),
    ] = None,
    sketch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[@FRAME]",
            help="A sketch that the clip follows in that frame. Repeatable.",
            rich_help_panel=START,
        ),
    ] = None,
    controlnet: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="SparseCtrl's weights for images or sketches: sparsectrl-rgb, sparsectrl-scribble, hub id or folder. "
            "Default: the one of the two that fits, where the model needs it.",
            rich_help_panel=START,
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A video that the clip is made from, frame by frame.", rich_help_panel=START),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            metavar="0..1",
            help="How far from the video: that share of the steps is run.",
            rich_help_panel=START,
            show_default="the model's",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The preset of another model (see bytheway models).",
            autocompletion=_presets,
            rich_help_panel=METHOD,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings from a .json or .toml file.", rich_help_panel=METHOD)
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(
            metavar="0..1|auto",
            help="Strength of self-guidance: structure. auto, here and below: what the model's own maps tell, once.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    beta: Annotated[
        str | None,
        typer.Option(metavar="1...|auto", help="Amplification of motion, at least.", rich_help_panel=METHOD),
    ] = None,
    tau: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="Half width of the amplified band of frequencies.", rich_help_panel=METHOD),
    ] = None,
    active_steps: Annotated[
        float | None,
        typer.Option(metavar="0..1", help="Share of the steps, from the first on.", rich_help_panel=METHOD),
    ] = None,
    no_enhance: Annotated[
        bool, typer.Option("--no-enhance", help="Leave the method out.", rich_help_panel=METHOD)
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of each prompt's first clip; its next has N+1. Drawn and printed if absent.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    num_videos: Annotated[int, typer.Option(metavar="N", help="Clips for every prompt.", rich_help_panel=SAMPLING)] = 1,
    best_of: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Begin N seeds of every prompt, and after the active steps go on with the most promising.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(metavar="K", help="With --best-of: finish the best K. Default: 1.", rich_help_panel=SAMPLING),
    ] = None,
    aim: Annotated[
        Literal["motion", "structure", "both"] | None,
        typer.Option(help="With --best-of: by what the best are told. Default: both.", rich_help_panel=SAMPLING),
    ] = None,
    batch_size: BatchSize = 1,
    steps: Steps = None,
    guidance_scale: GuidanceScale = None,
    negative_prompt: NegativePrompt = None,
    frames: NumFrames = None,
    size: Size = None,
    free_init: Annotated[
        bool,
        typer.Option("--free-init", help="FreeInit with three iterations, for comparison.", rich_help_panel=SAMPLING),
    ] = False,
) -> None:
    """Make clips of prompts, with the method and its settings chosen by the model."""
    with reported(), silence(quiet):
        from bytheway.cli.best_of import best_of_options
        from bytheway.cli.destination import Destination, ending_of
        from bytheway.cli.prompts import read_prompts
        from bytheway.cli.run import ModelChoice, chosen_config, run, size_of, start_of
        from bytheway.cli.tables import note
        from bytheway.clips.inputs import read_image, read_video
        from bytheway.config import AutoConfig
        from bytheway.errors import ByTheWayError
        from bytheway.generation.request import Request, drawn_seed

        if bool(prompts) == (prompts_file is not None):
            raise ByTheWayError("Give either prompts or a file of them (--prompts-file).")
        if prompts_file is not None:
            prompts, output = list(read_prompts(prompts_file)), output or prompts_file.with_suffix("")
        best = best_of_options(best_of, keep, aim, num_videos, skip_existing)
        chosen = {"alpha": alpha, "beta": beta, "tau": tau, "active_steps": active_steps}
        settings_for = partial(chosen_config, preset, config, chosen, not no_enhance)
        checked = settings_for(None)
        width, height = size_of(size)
        request = Request(
            prompts=tuple(prompts or ()),
            seed=drawn_seed() if seed is None else seed,
            config=checked.base if isinstance(checked, AutoConfig) else checked,
            negative_prompt=negative_prompt,
            num_videos=num_videos if best is None else best.seeds,
            num_frames=frames,
            width=width,
            height=height,
            steps=steps,
            guidance_scale=guidance_scale,
            fps=fps,
            compare=compare,
            free_init=free_init,
            record=record is not None,
            batch_size=batch_size,
            images=(
                *(read_image(text) for text in image or ()),
                *(read_image(text, sketch=True) for text in sketch or ()),
            ),
            video=read_video(video) if video is not None else None,
            strength=strength,
        )
        starts = [still.name for still in request.images] + ([request.video.name] if request.video else [])
        destination = Destination(
            output=output,
            record=record,
            scale=scale,
            prompts=request.prompts,
            num_videos=num_videos if best is None else best.keep,
            folder=prompts_file is not None,
            ending=ending_of(kind, output, prompts_file is not None),
            sources=tuple(Path(file) for file in (*starts, prompts_file, config) if file is not None),
            overwrite=overwrite,
            skip_existing=skip_existing,
        )
        there = destination.seed_there() if seed is None and skip_existing else None
        if there is not None:
            request = replace(request, seed=there)
        elif seed is None:
            again = "makes the same clip again" if best is None else f"begins the same {best.seeds} again"
            note(f"Seed {request.seed} (drawn; --seed {request.seed} {again})")
        destination.check(fps, (width or 1, height or 1))
        choice = ModelChoice(model, motion_adapter, tuple(lora or ()), device, dtype, start_of(request), controlnet)
        run(choice, request, settings_for, destination, best)
