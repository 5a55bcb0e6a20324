"""`bytheway vote`: a page on which people compare the clips of an experiment, and what their votes tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported

STUDY, PAGE = "Study, fixed when it begins", "Page"


def command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder of an experiment (bytheway evaluate), or the manifest of a batch."
        ),
    ],
    pairs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Pairs that each person is shown; checks and repeats come on top.",
            show_default="20, or all",
            rich_help_panel=STUDY,
        ),
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="What is asked, separated by commas: video_quality, structure_rationality, motion_consistency.",
            show_default="all three",
            rich_help_panel=STUDY,
        ),
    ] = None,
    checks: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Attention checks as a share of the pairs; as many pairs are repeated with sides swapped.",
            show_default="0.1",
            rich_help_panel=STUDY,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            metavar="N", help="Where the page is; 0: as last time, or any.", min=0, max=65535, rich_help_panel=PAGE
        ),
    ] = 0,
    share: Annotated[
        bool,
        typer.Option("--share", help="Let other machines in, by a link with a secret.", rich_help_panel=PAGE),
    ] = False,
    browser: Annotated[
        bool,
        typer.Option("--browser/--no-browser", help="Open the page in this machine's browser.", rich_help_panel=PAGE),
    ] = True,
    results: Annotated[bool, typer.Option("--results", help="Show what the votes tell, and end.")] = False,
) -> None:
    """Let people compare the clips of an experiment, two at a time and blind; every vote is on disk at once."""
    with reported():
        from bytheway.cli.voting import serve_study, show_results
        from bytheway.evaluation.votes.prepare import Wanted

        names = None if questions is None else tuple(name.strip() for name in questions.split(",") if name.strip())
        wanted = Wanted(pairs, names, checks)
        if results:
            show_results(run, wanted)
        else:
            serve_study(run, wanted, port=port, share=share, browser=browser)
