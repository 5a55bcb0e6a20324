"""What commands print: panels and tables on a terminal, plain lines anywhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final

# Sequences of ECMA-48: control strings, such as titles, to their end or the text's; CSI, such as colours; others.
_ESCAPE: Final = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_BREAKS: Final = str.maketrans("\t\n\r\x85", "    ")

_QUIET: Final[ContextVar[bool]] = ContextVar("quiet", default=False)


def print_settings(title: str, settings: Mapping[str, Any]) -> None:
    """Names and values, one line each; a value that is a mapping itself counts with its own names."""
    if _QUIET.get():
        return
    lines = [(printable(name), printable(value)) for name, value in _flat(settings)]
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
    console.print(
        Panel(grid, title=Text(printable(title), style="bold"), title_align="left", expand=False, border_style="dim")
    )


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; outside a terminal the cells are separated by tabs, for cut and awk."""
    if _QUIET.get():
        return
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    console = _console()
    if not console.is_terminal:
        for row in (header, *cells):
            _plain("\t".join(row))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="cyan", pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def note(sentence: str) -> None:
    """A remark on the way, on stderr: stdout is for results."""
    if not _QUIET.get():
        _remark(sentence, None)


def warn(sentence: str) -> None:
    """A remark that should not be missed."""
    _remark(f"Warning: {sentence}", "yellow")


@contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """Nothing is printed while the block runs but warnings and errors."""
    token = _QUIET.set(wanted)
    try:
        yield
    finally:
        _QUIET.reset(token)


def is_quiet() -> bool:
    """Whether nothing is to be printed but warnings and errors."""
    return _QUIET.get()


def printable(text: str) -> str:
    """Text on one line, without what a terminal would obey: a file's settings and names can be anybody's."""
    return _CONTROL.sub("", _ESCAPE.sub("", text).translate(_BREAKS))


def _remark(sentence: str, style: str | None) -> None:
    import typer

    with suppress(OSError):  # a full disk for remarks is no reason to give up the work
        typer.secho(printable(sentence), fg=style, dim=style is None, err=True)


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
