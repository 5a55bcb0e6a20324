"""`bytheway score`: what measures say of clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.measuring import Brought, Device, FlowNetwork, MeasureBatch, MeasureDtype, Names, Offline, Weights
from bytheway.cli.options import Quiet
from bytheway.cli.tables import quiet as silence


def command(
    clips: Annotated[
        list[str], typer.Argument(metavar="CLIPS...", help="Videos, folders of them, or patterns such as 'out/*.mp4'.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Save everything as JSON: every clip, every frame's value, intervals.",
        ),
    ] = None,
    vbench: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Also write NAME_eval_results.json and NAME_full_info.json, exactly as VBench does."
        ),
    ] = None,
    names: Names = None,
    device: Device = None,
    weights: Weights = None,
    flow: FlowNetwork = None,
    bring: Brought = None,
    measure_dtype: MeasureDtype = None,
    measure_batch: MeasureBatch = 8,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Measure clips, anybody's: how steady, smooth, lively and beautiful they are, with intervals over prompts."""
    with reported(), silence(quiet):
        import json

        from bytheway.cli.measuring import complain, load_measures, measure_choice, score_all
        from bytheway.cli.tables import note, print_table
        from bytheway.evaluation.clip_files import find_clips
        from bytheway.evaluation.report.words import SCORE_HEADS, clip_rows, score_rows
        from bytheway.evaluation.scores import names_of, scores_json
        from bytheway.evaluation.vbench_files import check_names, write_vbench_files
        from bytheway.files import check_file, write_text

        choice = measure_choice(
            names, device, weights, flow, bring, dtype=measure_dtype, batch=measure_batch, offline=offline
        )
        found = find_clips(clips)
        if vbench:
            check_names(found)
        for path in (output, *(Path(f"{vbench}_{kind}.json") for kind in ("eval_results", "full_info") if vbench)):
            if path is not None:
                check_file(path)
        told = score_all(found, load_measures(choice))
        scores = told.scores
        left = len(found) - len(scores) if told.interrupt else 0
        if scores:
            if 1 < len(scores) <= MOST_ROWS:
                print_table(("clip", *names_of(scores)), clip_rows(scores))
            print_table(SCORE_HEADS, score_rows(scores))
            if output is not None:
                write_text(output, json.dumps(scores_json(scores, left=left), indent=1) + "\n")
                note(f"{output} is written{f', without the {left} clips that are left' if left else ''}.")
            if vbench and not left:
                for path in write_vbench_files(vbench, scores):
                    note(f"{path} is written.")
        if told.interrupt:
            raise told.interrupt
        complain(told.failures, "The rest is measured")


MOST_ROWS = 20
"""Clips of which each has a row of its own on the terminal; the file has them all."""
