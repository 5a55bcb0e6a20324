"""What was measured, as it is kept: a JSON file for each kind of device, a part of it for each figure of each case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bytheway.errors import ByTheWayError
from bytheway.files import write_text


@dataclass(frozen=True)
class Measurement:
    """One row of a table.

    Attributes:
        figure: "anchor", "guided" and "joint" (attention alone), "active step", "other step", "run", "memory", "syncs",
            "frames", "pixels" and "videos" (curves of the attention alone).
        what: the block, the step or the point of a curve in words.
        unit: "ms", "MiB" or "" for counts.
        values: by column, one for each round.
        x: the point of a curve.
        note: how it was come by, where that is not plain.
    """

    figure: str
    what: str
    unit: str
    values: dict[str, list[float]]
    x: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Part:
    """One figure of one case, measured at one time.

    Attributes:
        title: of the case.
        setting: sizes and precision.
        machine: see `benchmarks.machine.describe`.
        words: where the extra time goes.
        missing: what was not measured, with the reason.
    """

    title: str
    setting: str
    machine: dict[str, str]
    measurements: list[Measurement] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


# By case and figure (`benchmarks.measure.Figure`).
Results = dict[str, dict[str, Part]]


def path_of(folder: Path, device: str) -> Path:
    return folder / f"results-{device}.json"


def save(folder: Path, device: str, results: Mapping[str, Mapping[str, Part]]) -> None:
    """Write the results of a kind of device, wholly or not at all."""
    content = {case: {figure: asdict(part) for figure, part in parts.items()} for case, parts in results.items()}
    write_text(path_of(folder, device), json.dumps(content, indent=1) + "\n")


def read(folder: Path, device: str) -> Results:
    """The results of a kind of device; none where there is no file.

    Raises:
        ByTheWayError: the file is no such thing.
    """
    path = path_of(folder, device)
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {case: {figure: _part(**part) for figure, part in parts.items()} for case, parts in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ByTheWayError(f"{path} holds no results of this benchmark; remove it, or give another --out.") from error


def _part(measurements: list[dict[str, Any]], **rest: Any) -> Part:
    return Part(measurements=[Measurement(**one) for one in measurements], **rest)
