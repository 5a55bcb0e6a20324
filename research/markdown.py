"""Figures in Markdown: tables, and numbers in their units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, centred: bool = False) -> str:
    """A table, its rows as long as its heads; `centred`: all columns but the first."""
    rule = ["---", *[":-:" if centred else "---"] * (len(heads) - 1)]
    return "\n".join([_row(heads), f"|{'|'.join(rule)}|", *map(_row, rows)])


def quantity(value: float, unit: str) -> str:
    """A number with its unit, such as "12.5 %" of 0.125, "1.25 px", or "0.125" where there is none."""
    return f"{number(value, unit)} {unit}".rstrip()


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """A number alone: per cent with one decimal, lengths and other units with two, without a unit three."""
    text = f"{100 * value:.1f}" if unit == "%" else f"{value:.3f}" if unit == "" else f"{value:.2f}"
    return f"+{text}" if signed and value > 0 else text


def _row(cells: Sequence[str]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"
