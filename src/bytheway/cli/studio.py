"""`bytheway studio`: a page in the browser over the package."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.options import ModelDevice
from bytheway.cli.tables import note


def command(
    model: Annotated[
        str, typer.Option(metavar="NAME", help="The model that the page begins with: a name, hub id, folder or file.")
    ] = "diorama",
    device: ModelDevice = None,
    listen: Annotated[
        bool, typer.Option("--listen", help="Let other machines in; needs --auth. Files of this machine stay closed.")
    ] = False,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:PASSWORD", envvar="BYTHEWAY_STUDIO_AUTH", help="What everybody has to give, to come in."
        ),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, metavar="N", help="How many may wait at once.")] = 20,
    port: Annotated[int, typer.Option(metavar="N", help="Where the page is; 0: any.", min=0, max=65535)] = 7860,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in this machine's browser.")
    ] = True,
) -> None:
    """Make, compare and keep clips in the browser; nothing goes over the network but to who opens the page."""
    with reported():
        from bytheway.errors import ByTheWayError

        if listen and not auth:
            raise ByTheWayError("Whoever reaches this machine could use it; give --auth NAME:PASSWORD with --listen.")
        if auth is not None and not all(auth.partition(":")):
            raise ByTheWayError("--auth is a name and a password with a colon between them, NAME:PASSWORD.")
        from bytheway.evaluation.votes.http import LOOPBACK, own_address, serve
        from bytheway.evaluation.votes.http import listen as listener_on
        from bytheway.files import data_folder
        from bytheway.models.choice import ModelChoice
        from bytheway.studio.history import History
        from bytheway.studio.server import app_of
        from bytheway.studio.service import Studio

        choice = ModelChoice(model, None, (), device, None)
        with listener_on(port, 0, share=listen) as listener:
            history = History(data_folder() / "studio")
            studio = Studio(history, longest=queue, own_files=not listen)
            studio.prepare(choice)
            note(f"Clips are kept in {history.folder}. Ctrl-C ends it.")
            if listen:
                note("Name, password and clips go over the network unencrypted.")
            address = f"http://{own_address() if listen else LOOPBACK}:{listener.getsockname()[1]}/"
            typer.echo(address)
            if browser:
                webbrowser.open(address)
            with suppress(KeyboardInterrupt):  # which is how it is meant to end
                serve(app_of(studio, choice, auth=auth, listens=listen), listener)
            studio.close()
