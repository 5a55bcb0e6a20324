"""`bytheway judge`: a multimodal model says which clips of an experiment are better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bytheway.cli.errors import reported
from bytheway.cli.options import CONCURRENCY, JUDGE, JudgeEndpoint, Quiet
from bytheway.cli.tables import quiet as silence

SHOWN, COST = "What is shown and asked", "Cost"


def command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder of an experiment (bytheway evaluate), or the manifest of a batch."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME", help="The full name the endpoint knows it by.", rich_help_panel=JUDGE
        ),
    ],
    endpoint: JudgeEndpoint = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Set this arm against the baseline, and no other. Repeatable.",
            rich_help_panel=SHOWN,
            show_default="all",
        ),
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="What is asked, separated by commas: video_quality, structure_rationality, motion_consistency.",
            rich_help_panel=SHOWN,
            show_default="all three",
        ),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Of each arm, so many pairs drawn at random, the same ones every time.",
            rich_help_panel=SHOWN,
            show_default="all",
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(metavar="N", min=1, help="Shown of each clip, evenly spaced.", rich_help_panel=SHOWN)
    ] = 8,
    detail: Annotated[
        Literal["low", "high", "auto"],
        typer.Option(help="How finely images are looked at, where the model has a choice.", rich_help_panel=SHOWN),
    ] = "low",
    max_tokens: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="The longest reply; models that reason need more.", rich_help_panel=SHOWN
        ),
    ] = 512,
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, help="Calls on their way at once.")] = CONCURRENCY,
    price_in: Annotated[
        float | None,
        typer.Option(metavar="X", help="Of a million tokens sent, in any currency.", rich_help_panel=COST),
    ] = None,
    price_out: Annotated[
        float | None, typer.Option(metavar="X", help="Of a million tokens received.", rich_help_panel=COST)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Make no call that could bring what was ever spent in RUN above this.",
            rich_help_panel=COST,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count calls, images and tokens.", rich_help_panel=COST)
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Ask a multimodal model which clips are better, each pair in both orders. No answer is paid for twice."""
    with reported(), silence(quiet):
        from bytheway.cli.judging import count_calls, run_judge
        from bytheway.errors import ByTheWayError
        from bytheway.evaluation.experiment.manifest_clips import open_clips
        from bytheway.evaluation.judge.budget import Prices
        from bytheway.evaluation.judge.run import Choice, arms_of, pairs_of
        from bytheway.evaluation.questions import QUESTIONS, questions_named

        if (price_in is None) != (price_out is None):
            raise ByTheWayError("Give both prices, --price-in and --price-out, or none.")
        prices = Prices(price_in, price_out) if price_in is not None and price_out is not None else None
        experiment = open_clips(run)
        asked = QUESTIONS if questions is None else questions_named([name.strip() for name in questions.split(",")])
        choice = Choice(model, asked, frames, detail, max_tokens)
        found, missing = pairs_of(experiment, arms_of(experiment, arm), pairs)
        if dry_run:
            count_calls(experiment.folder, choice, found, prices, missing)
        else:
            run_judge(experiment.folder, choice, found, missing, endpoint, concurrency, prices, max_cost)
