"""`bytheway show`: the settings a clip carries."""

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported


def command(
    file: Annotated[Path, typer.Argument(help="A clip made by bytheway: mp4, GIF, WebP, a PNG or a folder of them.")],
) -> None:
    """Print the settings a clip was made with, from the clip itself."""
    with reported():
        from bytheway.cli.tables import print_settings
        from bytheway.clips.read import read_metadata

        print_settings(str(file), read_metadata(file))
