"""``python -m research.selection``: what the best of N seeds is worth, on diorama's prompts, by its judge.

Every prompt has as many clips as the largest N, recorded and read once; choosing is reckoned from these. What is there
already is not made again, and the process is a nice one.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import AnimateDiffPipeline

from bytheway.apply.steps import count_active
from bytheway.cli.errors import reported
from bytheway.errors import ByTheWayError
from bytheway.families.known import preset_for
from bytheway.selection.aim import AIMS
from research.selection.compare import page
from research.selection.make import Seeds
from research.study.reading import open_readers
from research.study.sampling import Sampling, open_pipeline
from research.study.variants import PAPER, VANILLA, Variant

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)


@app.command()
@reported()
def study(
    prompts: Annotated[int, typer.Option(min=1, help="How many.")] = 256,
    n: Annotated[list[int] | None, typer.Option(min=2, help="Seeds to choose among; repeatable. 4 and 8.")] = None,
    model: Annotated[str, typer.Option(help="A packaged model or a folder of its kind.")] = "diorama",
    vanilla: Annotated[bool, typer.Option("--vanilla", help="Without the method, recorded in all steps.")] = False,
    judge: Annotated[Path, typer.Option(help="Folder of judge.safetensors and outlines.safetensors.")] = Path(
        "runs/diorama/judge"
    ),
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/selection"),
    steps: Annotated[int, typer.Option(min=2, help="Denoising steps.")] = Sampling.steps,
    seed: Annotated[int, typer.Option(help="Of the prompts and of the first clip.")] = 40_000,
    show: Annotated[bool, typer.Option("--show", help="Make nothing; reckon from what is there.")] = False,
) -> None:
    """Make what is missing, then print what choosing gives."""
    os.nice(10)
    torch.set_num_threads(1)
    numbers = sorted(set(n or [4, 8]))
    readers = open_readers(judge)

    @cache
    def pipe() -> AnimateDiffPipeline:
        return open_pipeline(model, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    # The paper's settings tell the anchor that is observed; the preset is the model's own.
    variant = VANILLA if vanilla else Variant(preset_for(pipe()).config)
    active = count_active((variant.config or PAPER).active_steps, steps)
    sampling = Sampling(seed=seed, steps=steps)
    folder = out / Path(model).absolute().name / f"{variant.key}-{steps}-{seed}-of{numbers[-1]}"
    seeds = Seeds(folder, variant, numbers[-1], sampling)
    if not show:
        for number in seeds.make(pipe, readers, prompts):
            print(f"prompt {number + 1}/{prompts}", flush=True)
    clips = seeds.load(prompts, readers.name)
    if len(clips) < 2:
        raise ByTheWayError("Of two prompts or more something can be told; make some first.")
    page(clips, active, numbers, AIMS, print)


if __name__ == "__main__":
    app()
