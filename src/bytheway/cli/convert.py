"""`bytheway convert`: published checkpoints to folders in diffusers' layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported

app = typer.Typer(no_args_is_help=True)


@app.callback()
def convert() -> None:
    """Convert a model's published checkpoint to a folder that --model takes."""


@app.command()
def videocrafter2(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE", help="The published model.ckpt, or the same tensors as .safetensors.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="CLIP's vocabulary, which the checkpoint does not hold: a folder or hub id. Default: OpenAI's, of the "
            "hub.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="float32, float16 or bfloat16. Default: the checkpoint's."),
    ] = None,
) -> None:
    """Convert VideoCrafter2's checkpoint; needs hardly more memory than its size."""
    with reported():
        from bytheway.errors import ByTheWayError
        from bytheway.files import check_vacant

        if not checkpoint.is_file():
            raise ByTheWayError(f"There is no file {checkpoint}; give the path of a checkpoint.")
        check_vacant(folder)

        import torch

        from bytheway.cli.progress import WriteProgress
        from bytheway.cli.run import quieten_libraries
        from bytheway.cli.tables import note, print_settings
        from bytheway.models import resolve_dtype
        from bytheway.models.videocrafter.convert import convert as write

        precision = resolve_dtype(dtype, torch.device("cpu")) if dtype else None
        note(f"Converting {checkpoint}")
        quieten_libraries()
        with WriteProgress() as progress:
            write(checkpoint, folder, tokenizer=tokenizer, dtype=precision, on_write=progress)
        print_settings("converted", {"folder": folder, "try": f'bytheway generate "..." --model {folder}'})
