"""The command line: thin, parse, call, show, and say which option mends an error.

Nothing heavy is imported before a command asks for it. Public: `main`, the console script. May import `generation` and
below.
"""

import io
import sys

import typer

from bytheway.cli import convert, generate, inspect, models, show

app = typer.Typer(
    name="bytheway",
    help="Better structure and richer motion for text-to-video diffusion, training-free (ByTheWay, CVPR 2025).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("generate")(generate.command)
app.command("show")(show.command)
app.command("models")(models.command)
app.command("inspect")(inspect.command)
app.add_typer(convert.app, name="convert")


def main() -> None:
    """The console script, and `python -m bytheway`."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a clip or a file name may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    app(prog_name="bytheway")
