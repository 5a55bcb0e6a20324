"""The command line: thin, parse, call, show, and say which option mends an error.

Nothing heavy is imported before a command asks for it. Public: `main`, the console script. May import `batch` and
below.
"""

import io
import sys
from typing import Annotated

import typer

import bytheway
from bytheway.cli import (
    batch,
    compare,
    convert,
    evaluate,
    generate,
    inspect,
    judge,
    measures,
    models,
    score,
    show,
    studio,
    tune,
    vote,
)
from bytheway.cli.errors import output_spared

app = typer.Typer(
    name="bytheway",
    help="Better structure and richer motion for text-to-video diffusion, training-free (ByTheWay, CVPR 2025).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bytheway {bytheway.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


app.command("generate")(generate.command)
app.command("batch")(batch.command)
app.command("show")(show.command)
app.command("models")(models.command)
app.command("inspect")(inspect.command)
app.command("score")(score.command)
app.command("compare")(compare.command)
app.command("evaluate")(evaluate.command)
app.command("judge")(judge.command)
app.command("tune")(tune.command)
app.command("vote")(vote.command)
app.command("studio")(studio.command)
app.command("measures")(measures.command)
app.add_typer(convert.app, name="convert")


def main() -> None:
    """The console script's work (`bytheway.__main__`)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a clip or a file name may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    with output_spared():
        app(prog_name="bytheway")
