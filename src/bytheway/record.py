"""What a run can record: energies, disparity and beta at every step and site, as tidy rows."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from torch import Tensor

from bytheway.attention.measures import Measures
from bytheway.errors import ByTheWayError
from bytheway.files import write_text


@dataclass(frozen=True)
class Row:
    """One video at one site in one call of the denoiser.

    Attributes:
        run: number of the denoising run, from 0; FreeInit makes several of one generation.
        step: number of the step in its run, from 0; schedulers of order 2 have two timesteps in one.
        timestep: the one the denoiser was called with.
        block: such as "up_blocks.1".
        module, attention: index (i, j) of the site in its block.
        window: number of the window of frames, from 0; more than one only under FreeNoise.
        video: number of the video in the batch.
        energy: E1, of the map as the model made it.
        energy_after: E3, of the map as it was used.
        disparity: to the anchor; None in the anchor block, in blocks that run before it, and where there is none.
        beta: amplification of the high frequencies; 1 where the method is off.
    """

    run: int
    step: int
    timestep: float
    block: str
    module: int
    attention: int
    window: int
    video: int
    energy: float
    energy_after: float
    disparity: float | None
    beta: float


@dataclass(frozen=True)
class Entry:
    """The measures of one site in one call of the denoiser; the timestep may be on the device."""

    run: int
    step: int
    timestep: Tensor | float
    block: str
    index: tuple[int, int]
    window: int
    measures: Measures


class Record:
    """Rows of what happened. Numbers stay on the device until they are asked for; printing a record asks for them."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def __len__(self) -> int:
        """The number of rows."""
        return sum(len(entry.measures.energy) for entry in self._entries)

    def rows(self) -> list[Row]:
        """Every row, in the order in which things happened."""
        measures = [entry.measures for entry in self._entries]
        timesteps = _numbers(torch.as_tensor(entry.timestep).flatten()[:1] for entry in self._entries)
        energies = _numbers(measure.energy for measure in measures)
        energies_after = _numbers(measure.energy_after for measure in measures)
        disparities = _numbers(measure.disparity for measure in measures if measure.disparity is not None)
        betas = _numbers(measure.beta for measure in measures)
        return [
            Row(
                run=entry.run,
                step=entry.step,
                timestep=timestep,
                block=entry.block,
                module=entry.index[0],
                attention=entry.index[1],
                window=entry.window,
                video=video,
                energy=next(energies),
                energy_after=next(energies_after),
                disparity=None if entry.measures.disparity is None else next(disparities),
                beta=next(betas),
            )
            for entry, timestep in zip(self._entries, timesteps, strict=True)
            for video in range(len(entry.measures.energy))
        ]

    def __repr__(self) -> str:
        """The measures of each block, in means over its sites, steps and videos, as a small table."""
        lines = [_HEAD, *_means_of_blocks(self.rows())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([f"Record of {self._extent()}", *table[: len(lines) if len(lines) > 1 else 0]])

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        lines = [("th", _HEAD), *(("td", line) for line in _means_of_blocks(self.rows()))]
        table = "".join(f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in line)}</tr>" for tag, line in lines)
        return f"<table><caption>Record of {escape(self._extent())}</caption>{table if len(lines) > 1 else ''}</table>"

    def _extent(self) -> str:
        """What was recorded, without a number from the device."""
        counts = (
            (len(self), "row"),
            (len({entry.run for entry in self._entries}), "run"),
            (len({(entry.run, entry.step) for entry in self._entries}), "step"),
            (max((len(entry.measures.energy) for entry in self._entries), default=0), "video"),
        )
        return ", ".join(f"{number} {name}{'' if number == 1 else 's'}" for number, name in counts)

    def to_pandas(self) -> Any:
        """A pandas DataFrame, one line per row.

        Raises:
            ByTheWayError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ByTheWayError("A DataFrame needs pandas, which is not installed; use rows() or save().") from error
        return pandas.DataFrame([asdict(row) for row in self.rows()], columns=[field.name for field in fields(Row)])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a .csv or .jsonl file (JSON Lines), wholly or not at all.

        Raises:
            ByTheWayError: the ending is neither, or the file cannot be written.
        """
        path = Path(path)
        rows = [asdict(row) for row in self.rows()]
        if path.suffix == ".csv":
            text = io.StringIO(newline="")
            table = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
            content = text.getvalue()
        elif path.suffix == ".jsonl":
            content = "".join(json.dumps(row) + "\n" for row in rows)
        else:
            raise ByTheWayError(f"{path} is neither a .csv nor a .jsonl file; give it one of these two endings.")
        write_text(path, content)


_HEAD: Final = ("block", "sites", "energy", "enhanced", "disparity", "beta", "largest")


def _means_of_blocks(rows: list[Row]) -> list[tuple[str, ...]]:
    """The cells of the table of a record, under `_HEAD`; blocks are in the order in which they ran."""
    lines: list[tuple[str, ...]] = []
    for block in dict.fromkeys(row.block for row in rows):
        here = [row for row in rows if row.block == block]
        disparities = [row.disparity for row in here if row.disparity is not None]
        lines.append(
            (
                block,
                str(len({(row.module, row.attention) for row in here})),
                f"{fmean(row.energy for row in here):.3f}",
                f"{fmean(row.energy_after for row in here):.3f}",
                f"{fmean(disparities):.3f}" if disparities else "–",
                f"{fmean(row.beta for row in here):.2f}",
                f"{max(row.beta for row in here):.2f}",
            )
        )
    return lines


def _numbers(tensors: Iterable[Tensor]) -> Iterator[float]:
    """All elements, fetched from the device at once."""
    columns = list(tensors)
    return map(float, torch.cat(columns).tolist() if columns else [])
