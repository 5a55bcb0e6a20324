"""``python -m benchmarks``: what an enhanced run costs, beside a vanilla one and what people would run instead."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.cases import Model
from benchmarks.measure import Figure, figures_of, measure
from benchmarks.report import full, short, with_short
from benchmarks.results import Results, path_of, read, save
from bytheway.cli.errors import reported
from bytheway.errors import ByTheWayError
from bytheway.files import check_file, write_text

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
SCRATCH = Path("runs/benchmarks")

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)


class Device(StrEnum):
    """What can be measured on."""

    CPU = "cpu"
    CUDA = "cuda"


@app.command(help=__doc__)
@reported()
def benchmark(
    case: Annotated[list[Model] | None, typer.Option(help="Models; may be given again. All by default.")] = None,
    figure: Annotated[list[Figure] | None, typer.Option(help="Figures; may be given again. All by default.")] = None,
    device: Annotated[
        list[Device] | None, typer.Option(help="By default the CPU, and the GPU where there is one.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Toy sizes, one round: does it still run?")] = False,
    show: Annotated[bool, typer.Option("--show", help="Measure nothing; write tables and picture anew.")] = False,
    minutes: Annotated[float, typer.Option(help="Begin no figure after this time.")] = float("inf"),
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; docs/benchmarks, or runs/benchmarks of --quick.")
    ] = None,
) -> None:
    """Measure, keep every figure as soon as it is there in place of its earlier one, and print the short table."""
    folder = out or (SCRATCH if quick else DOCS)
    end = time.monotonic() + 60 * minutes
    for kind in device or _devices():
        check_file(path_of(folder, kind))
        results = read(folder, kind)
        if not show:
            if kind is Device.CUDA and not torch.cuda.is_available():
                raise ByTheWayError("There is no CUDA device here; leave out --device cuda.")
            for name in case or list(Model):
                parts = results.setdefault(name, {})
                for measured, part in measure(name, torch.device(kind), figure or list(Figure), quick, end):
                    _say(f"{name} {measured} on {kind}")
                    parts[measured] = part
                    save(folder, kind, results)
        if any(results.values()):
            _write(results, folder, kind)
    if not device and not torch.cuda.is_available() and not show:
        _say("Not measured on cuda: anything, since there is no such device here.")


def _devices() -> list[Device]:
    return [Device.CPU, *([Device.CUDA] if torch.cuda.is_available() else [])]


def _write(results: Results, folder: Path, kind: str) -> None:
    ordered = {
        name.value: {figure.value: results[name][figure] for figure in Figure if figure in results[name]}
        for name in Model
        if results.get(name)
    }
    write_text(folder / f"results-{kind}.md", full(ordered, _draw(ordered, folder / f"cost-{kind}.png")) + "\n")
    page = folder / "README.md"
    if page.exists():
        write_text(page, with_short(page.read_text(encoding="utf-8"), kind, ordered))
    print(short(ordered))
    absent = [
        f"{name} {figure}" for name in Model for figure in figures_of(name, kind) if figure not in ordered.get(name, {})
    ]
    if absent:
        _say(f"Not measured on {kind}: {', '.join(absent)}.")
    _say(f"All figures are in {folder / f'results-{kind}.md'}.")


def _draw(results: Results, path: Path) -> str | None:
    """The name of the picture; none where there is nothing to draw it with."""
    try:
        from benchmarks.plot import draw
    except ModuleNotFoundError as error:
        _say(f"There is no picture, because {error.name} is not installed.")
        return None
    draw(results, path)
    return path.name


def _say(line: str) -> None:
    """Beside the table, which may be on its way into a file."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
