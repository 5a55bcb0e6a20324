"""`bytheway compare`: two folders of clips against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.measuring import Brought, Device, FlowNetwork, MeasureBatch, MeasureDtype, Names, Offline, Weights
from bytheway.cli.options import Quiet
from bytheway.cli.tables import quiet as silence


def command(
    first: Annotated[str, typer.Argument(metavar="A", help="A folder of clips, the baseline.")],
    second: Annotated[
        str,
        typer.Argument(metavar="B", help="A folder of clips of the same prompts and seeds, or the same file names."),
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Save a page with plots and the clips in step (.html), or all figures (.json). Repeatable.",
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
    """Compare two folders of clips, pair by pair: which is ahead in what, and whether it is more than chance."""
    with reported(), silence(quiet):
        import json

        from bytheway.cli.measuring import complain, load_measures, measure_choice, score_all
        from bytheway.cli.progress import CountProgress
        from bytheway.cli.tables import note, print_table
        from bytheway.errors import ByTheWayError
        from bytheway.evaluation.clip_files import find_clips
        from bytheway.evaluation.comparison import compare
        from bytheway.evaluation.pairs import pair
        from bytheway.evaluation.report.page import comparison_page
        from bytheway.evaluation.report.words import cautions, comparison_heads, comparison_rows
        from bytheway.files import check_file, write_text

        choice = measure_choice(
            names, device, weights, flow, bring, dtype=measure_dtype, batch=measure_batch, offline=offline
        )
        for path in output or ():
            if path.suffix not in (".html", ".json"):
                raise ByTheWayError(f"{path} is no name for a comparison; let it end in .html or .json.")
            check_file(path)
        pairing = pair(find_clips([first]), find_clips([second]))
        left_out = [f"{clip.path} has no partner." for clip in pairing.alone]
        note(f"{len(pairing.pairs)} pairs of clips")
        told = score_all([clip for both in pairing.pairs for clip in both], load_measures(choice))
        by_path = {one.clip.path: one for one in told.scores}
        scored = [(by_path[a.path], by_path[b.path]) for a, b in pairing.pairs if {a.path, b.path} <= by_path.keys()]
        if told.interrupt:
            if not scored:
                raise told.interrupt
            left_out.append(f"Interrupted: {len(scored)} of {len(pairing.pairs)} pairs are measured.")
        found = compare(_called(first, second), scored, left_out + told.failures)
        print_table(comparison_heads(found), comparison_rows(found))
        for sentence in cautions(found):
            note(sentence)
        for path in output or ():
            if path.suffix == ".json":
                write_text(path, json.dumps(found.to_dict(), indent=1) + "\n")
            else:
                a, b = found.names
                with CountProgress("writing the page", 0) as progress:
                    page = comparison_page([found], title=f"{a} and {b}", on_strip=progress.reach)
                write_text(path, page)
            note(f"{path} is written.")
        if told.interrupt:
            raise told.interrupt
        complain(found.left_out, "The other pairs are compared")


def _called(first: str, second: str) -> tuple[str, str]:
    """Short names of both folders that tell them apart."""
    a, b = (Path(place).resolve() for place in (first, second))
    names = (a.name, b.name) if a.name != b.name else (f"{a.parent.name}/{a.name}", f"{b.parent.name}/{b.name}")
    return names if names[0] != names[1] else (first, second)
