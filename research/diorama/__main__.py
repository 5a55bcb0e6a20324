"""``python -m research.diorama``: train diorama from nothing and export it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.multiprocessing.spawn import spawn

from bytheway.cli.errors import reported
from bytheway.files import check_file
from research.diorama.corpus import SHARD
from research.diorama.journal import note_start
from research.diorama.recipe import Recipe, run_process

SHIPPED = Path(__file__).parents[2] / "src" / "bytheway" / "models" / "diorama"


@reported()
def main(
    out: Annotated[Path, typer.Option(help="Folder of the corpus, checkpoints and samples.")] = Path("runs/diorama"),
    shipped: Annotated[Path, typer.Option(help="Folder of the exported pipeline.")] = SHIPPED,
    clips: Annotated[int, typer.Option(min=SHARD, help="Clips of the training corpus.")] = Recipe.clips,
    autoencoder_steps: Annotated[int, typer.Option(min=1)] = Recipe.autoencoder_steps,
    spatial_steps: Annotated[int, typer.Option(min=1)] = Recipe.spatial_steps,
    motion_steps: Annotated[int, typer.Option(min=1)] = Recipe.motion_steps,
    respaced_steps: Annotated[int, typer.Option(min=1, help="On the sampling schedule.")] = Recipe.respaced_steps,
    early_steps: Annotated[
        int, typer.Option(min=1, help="Of the motion modules of diorama-early.")
    ] = Recipe.early_steps,
    seed: Annotated[int, typer.Option()] = Recipe.seed,
    minutes: Annotated[float, typer.Option(help="Stop after this time; the same command goes on.")] = Recipe.minutes,
    processes: Annotated[int, typer.Option(min=1, help="Data-parallel processes on the CPU.")] = 2,
) -> None:
    """Train diorama: corpus, autoencoder, spatial, motion, sampling schedule, early modules, export; resumes."""
    check_file(out / "rendezvous")
    check_file(shipped / "model_index.json")
    out.mkdir(parents=True, exist_ok=True)
    (out / "rendezvous").unlink(missing_ok=True)
    note_start(out, processes)
    steps = (autoencoder_steps, spatial_steps, motion_steps, respaced_steps, early_steps)
    recipe = Recipe(out, shipped, clips, *steps, seed, minutes)
    if torch.cuda.is_available():
        run_process(0, recipe, 1, "cuda")
    elif processes == 1:
        run_process(0, recipe, 1, "cpu")
    else:
        spawn(run_process, (recipe, processes, "cpu"), nprocs=processes, daemon=True)  # none outlives the command


if __name__ == "__main__":
    typer.run(main)
