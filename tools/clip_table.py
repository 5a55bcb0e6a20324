"""``python -m tools.clip_table CLIPS``: the usual measures of clips as a page, with the time that each measure took.

`docs/real_clips.md` is that of clips that real models have made; the clips themselves are not part of the project.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from bytheway.cli.errors import reported
from bytheway.clips import load_video
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.clip_files import ClipFile, find_clips
from bytheway.evaluation.measures.measure import Measure, Measurement
from bytheway.evaluation.report.words import with_unit
from bytheway.files import write_text
from research.machine import processor, versions
from research.markdown import table

PAGE: Final = Path(__file__).parents[1] / "docs" / "real_clips.md"

Measured = dict[str, tuple[Measurement, float]]


@reported()
def main(
    clips: Annotated[list[str], typer.Argument(help="Files, folders, patterns.")],
    source: Annotated[str, typer.Option(help="A sentence on where the clips come from.")] = "",
    to: Annotated[Path, typer.Option(help="The page.")] = PAGE,
) -> None:
    """Measure every clip and write the page."""
    measures, left_out = MeasureChoice().load()
    rows, spent = [], []
    for clip in find_clips(clips):
        size, found = _measured(clip, measures)
        rows.append([clip.name, size, *(_value(one) for one, _ in found.values())])
        spent.append({name: seconds for name, (_, seconds) in found.items()})
        heads = ["", "frames", *(with_unit(name, one.unit) for name, (one, _) in found.items())]
        print(clip.name, file=sys.stderr, flush=True)
    times = [
        "*seconds of one core, a clip*",
        "",
        *(f"{sum(row[name] for row in spent) / len(spent):.2f}" for name in spent[0]),
    ]
    reasons = "\n".join(f"- {name}: {reason}" for name, reason in left_out.items())
    text = [
        "# Measures of clips that real models have made",
        f"Written by `python -m tools.clip_table`. {source}".rstrip(),
        table(heads, [*rows, times]),
        "Measures that come out of one computation share its time.",
        f"{processor()}; {versions(('torch', 'transformers'))}.",
        f"Left out, since there was no network for them here:\n\n{reasons}" if left_out else "",
    ]
    write_text(to, "\n\n".join(filter(None, text)) + "\n")


def _measured(clip: ClipFile, measures: Sequence[Measure]) -> tuple[str, Measured]:
    """Length and size of a clip; each measurement by its name, with the seconds of the computation it is from."""
    frames, fps = load_video(clip.path)
    found: Measured = {}
    for measure in measures:
        begin = time.process_time()
        measurements = measure(frames, fps, clip.prompt)
        seconds = time.process_time() - begin
        found |= {one.name: (one, seconds) for one in measurements}
    count, height, width, _ = frames.shape
    return f"{count} of {width}x{height}, {fps:.3g}/s", found


def _value(one: Measurement) -> str:
    return ("yes" if one.value else "no") if isinstance(one.value, bool) else f"{one.value:.3f}"


if __name__ == "__main__":
    typer.run(main)
