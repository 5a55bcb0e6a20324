"""What commands print: panels and tables on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def print_settings(title: str, settings: Mapping[str, Any]) -> None:
    """Names and values, one line each; a value that is a mapping itself counts with its own names."""
    lines = list(_flat(settings))
    console = _console()
    if not console.is_terminal:
        for name, value in lines:
            _plain(f"{name}: {value}")
        return
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in lines:
        grid.add_row(Text(name), Text(value))
    console.print(Panel(grid, title=Text(title, style="bold"), title_align="left", expand=False, border_style="dim"))


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; outside a terminal the cells are separated by tabs, for cut and awk."""
    console = _console()
    if not console.is_terminal:
        for row in (header, *rows):
            _plain("\t".join(map(str, row)))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="cyan", pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def note(sentence: str, style: str | None = None) -> None:
    """A remark on the way, on stderr: stdout is for results."""
    import typer

    typer.secho(sentence, fg=style, dim=style is None, err=True)


def warn(sentence: str) -> None:
    """A remark that should not be missed."""
    note(f"Warning: {sentence}", "yellow")


def _flat(settings: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", text) for inner, text in _flat(value))
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _plain(line: str) -> None:
    import typer

    typer.echo(line)
