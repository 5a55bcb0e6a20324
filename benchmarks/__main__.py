"""``python -m benchmarks``: what an enhanced run costs, beside a vanilla one and what people would run instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.cases import CASES, Model
from benchmarks.measure import Figure, figures_of, measure
from benchmarks.plot import draw
from benchmarks.report import full, short
from benchmarks.results import Results, read, save
from bytheway.errors import ByTheWayError

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
SCRATCH = Path("runs/benchmarks")

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)


class Device(StrEnum):
    """What can be measured on."""

    CPU = "cpu"
    CUDA = "cuda"


@app.command(help=__doc__)
def benchmark(
    case: Annotated[list[Model] | None, typer.Option(help="Models; may be given again. All by default.")] = None,
    figure: Annotated[list[Figure] | None, typer.Option(help="Figures; may be given again. All by default.")] = None,
    device: Annotated[
        list[Device] | None, typer.Option(help="By default the CPU, and the GPU where there is one.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Toy sizes, one round: does it still run?")] = False,
    show: Annotated[bool, typer.Option("--show", help="Measure nothing; write tables and picture anew.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; docs/benchmarks, or runs/benchmarks of --quick.")
    ] = None,
) -> None:
    """Measure, keep every figure as soon as it is there in place of its earlier one, and print the README's table."""
    folder = out or (SCRATCH if quick else DOCS)
    for kind in device or _devices():
        results = read(folder, kind)
        if not show:
            if kind is Device.CUDA and not torch.cuda.is_available():
                raise ByTheWayError("There is no CUDA device here; leave out --device cuda.")
            for name in case or list(Model):
                _measure(results, name, torch.device(kind), figure or list(Figure), quick)
                save(folder, kind, results)
        if results:
            _write(results, folder, kind)
    if not device and not torch.cuda.is_available() and not show:
        print("\nNot measured: anything on a GPU, since there is no CUDA device here.")


def _devices() -> list[Device]:
    return [Device.CPU, *([Device.CUDA] if torch.cuda.is_available() else [])]


def _measure(results: Results, name: Model, device: torch.device, figures: Iterable[Figure], quick: bool) -> None:
    case = CASES[name]
    parts = results.pop(name, {})
    for figure, part in measure(case, device, list(figures), quick):
        print(f"{name}: {figure} measured", file=sys.stderr, flush=True)
        parts[figure] = part
    results[name] = {figure: parts[figure] for figure in figures_of(case) if figure in parts}


def _write(results: Results, folder: Path, kind: str) -> None:
    ordered = {name.value: results[name] for name in CASES if name in results}
    plot = folder / f"cost-{kind}.png"
    draw(ordered, plot)
    (folder / f"results-{kind}.md").write_text(full(ordered, plot.name) + "\n", encoding="utf-8")
    print(f"\n{short(ordered)}\n\nAll figures are in {folder / f'results-{kind}.md'}.")


def main() -> None:
    try:
        app()
    except ByTheWayError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
