"""The rows of a jobs file: prompts one a line, CSV, JSON Lines or Parquet, each row checked, with its line in errors.

Files are read as streams, as often as need be: a list of millions never is in memory. Importing this imports no torch.
"""

from __future__ import annotations

import csv
import difflib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final

from bytheway.clips.frames import FASTEST, SLOWEST
from bytheway.clips.inputs import image_place
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import Arm, parse_arm, parse_value
from bytheway.families.family import Start
from bytheway.generation.request import Request

LONGEST_ROW: Final = 2**20  # characters; settings travel in the comment of the clip


@dataclass(frozen=True)
class Row:
    """One line of a jobs file.

    Attributes:
        where: it stands, for errors, such as "jobs.csv, line 3".
        prompt: what the clips show.
        settings: those of `SETTINGS` that it gives; files by their whole paths.
        method: fields of the method's config that differ from the preset, or from what the arm says.
        arm: how its clips are made; None: in every way that the run asks for.
    """

    where: str
    prompt: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    method: Mapping[str, Any] = field(default_factory=dict)
    arm: Arm | None = None

    @property
    def start(self) -> Start | None:
        """What its clips start from beside the prompt."""
        return next((kind for kind in STARTS if kind in self.settings), None)


def read_rows(file: Path, folder: Path | None = None) -> Iterator[Row]:
    """The rows of a jobs file, by its ending: .csv, .jsonl or .ndjson, .parquet; any other is prompts one a line.

    In a list of prompts, blank lines and those that begin with # are skipped. In the others a cell that is empty or
    null is not given.

    Args:
        folder: from which paths in the rows are told; None: that of the file.

    Raises:
        ByTheWayError: the file cannot be read or has no row; or a row is wrong: the sentence says which line.
    """
    read = _READERS.get(file.suffix.lower(), _prompts)
    empty = True
    with _said(file):
        for where, cells in read(file):
            yield _row(f"{file.name}, {where}", cells, Path(os.path.abspath(folder or file.parent)))
            empty = False
    if empty:
        raise ByTheWayError(f"{file.name} holds no row; write one prompt a line, or a table with a column prompt.")


@contextmanager
def _said(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ByTheWayError(f"{file.name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ByTheWayError(f"{file.name} is no text in UTF-8; save it as such.") from error


def _prompts(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in _lines(file):
        if line and not line.startswith("#"):
            yield f"line {number}", {"prompt": line}


def _json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in _lines(file):
        if not line:
            continue
        where = f"line {number}"
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError):
            cells = None
        if not isinstance(cells, dict):
            raise ByTheWayError(f'{file.name}, {where} is no JSON object such as {{"prompt": "a red ball"}}.')
        yield where, cells


def _csv(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        try:
            head = next(reader, [])
            if len(set(head)) < len(head):
                raise ByTheWayError(f"{file.name} has a column twice; name each once.")
            for cells in reader:
                where = f"line {reader.line_num}"
                if len(cells) > len(head):
                    raise ByTheWayError(f"{file.name}, {where} has more cells than there are columns; quote commas.")
                given = {name: _parsed(name, cell) for name, cell in zip(head, cells, strict=False) if cell.strip()}
                if given:
                    yield where, given
        except csv.Error as error:
            raise ByTheWayError(f"{file.name}, line {reader.line_num} is no CSV: {error}.") from error


def _parsed(name: str, cell: str) -> Any:
    return cell if name in ("prompt", "negative_prompt", "arm", "video") else parse_value(cell.strip())


def _parquet(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ByTheWayError("A jobs file in Parquet needs pyarrow: pip install pyarrow, or save it as CSV.") from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            for batch in table.iter_batches():
                for cells in batch.to_pylist():
                    number += 1
                    yield f"row {number}", cells
    except (pyarrow.ArrowException, EOFError) as error:
        raise ByTheWayError(f"{file.name} is damaged or no Parquet file; save it again.") from error


_READERS: Final[Mapping[str, Callable[[Path], Iterator[tuple[str, dict[str, Any]]]]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, stripped; a longer one than can be a row is refused before it is in memory."""
    with file.open(encoding="utf-8-sig") as text:
        number = 0
        while line := text.readline(LONGEST_ROW + 1):
            number += 1
            if len(line) > LONGEST_ROW:
                raise _too_long(f"{file.name}, line {number}")
            yield number, line.strip()


def _too_long(where: str) -> ByTheWayError:
    return ByTheWayError(f"{where} is longer than {LONGEST_ROW} characters; no prompt is.")


def _row(where: str, cells: Mapping[str, Any], folder: Path) -> Row:
    given = {name: value for name, value in cells.items() if not _is_missing(value)}
    try:
        if sum(len(value) for value in given.values() if isinstance(value, str)) > LONGEST_ROW:
            raise _too_long("It")
        if "prompt" not in given:
            raise ByTheWayError("It has no prompt; say what the clip shall show, in a column prompt.")
        prompt = _text("prompt", given.pop("prompt"))
        arm = parse_arm(_text("arm", given.pop("arm"))) if "arm" in given else None
        method = {name: given.pop(name) for name in _METHOD if name in given}
        settings = {name: _checked(name, value) for name, value in given.items()}
        ByTheWayConfig().replace(**method)
        Request((prompt,), **{"seed": 0, **{name: settings[name] for name in settings if name not in _OF_FILES}})
        settings |= _found(settings, folder)
    except ByTheWayError as error:
        raise ByTheWayError(f"{where}: {error}") from error
    return Row(where, prompt, settings, method, arm)


def _found(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The files that a row gives by their whole paths, below the folder of the jobs file where they are no such."""
    kinds = [kind for kind in STARTS if kind in settings]
    if len(kinds) > 1:
        raise ByTheWayError(f"A clip starts from one of {' and '.join(kinds)}; leave the others out.")
    if "strength" in settings and "video" not in settings:
        raise ByTheWayError("A strength says how far a clip may go from a video; give the video.")
    found: dict[str, Any] = {}
    for kind in ("image", "sketch"):
        if kind in settings:
            found[kind] = tuple(str(folder / text) for text in settings[kind])
            for text in found[kind]:
                image_place(text)
    if "video" in settings:
        found["video"] = str(folder / settings["video"])
        if not Path(found["video"]).exists():
            raise ByTheWayError(f"There is no video {found['video']}.")
    if "lora" in settings:
        found["lora"] = tuple(_lora(text, folder) for text in settings["lora"])
    return found


def _lora(text: str, folder: Path) -> str:
    """A LoRA by the whole path of its file or folder where there is one, else as it is given: a hub id."""
    sources = (text, text.rpartition("=")[0])
    return next((f"{folder / one}{text[len(one) :]}" for one in sources if one and (folder / one).exists()), text)


def checked_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that every row shares, those left out that are None; checked as those of a row.

    Raises:
        ByTheWayError: one is wrong.
    """
    settings = {name: _checked(name, value) for name, value in given.items() if value is not None}
    Request(("any",), **settings)
    return settings


def _is_missing(value: Any) -> bool:
    """Whether a cell is not given; where a column of numbers has holes, tables write NaN into them."""
    return value is None or (isinstance(value, float) and value != value)


def _checked(name: str, value: Any) -> Any:
    check = SETTINGS.get(name)
    if check is None:
        known = ["prompt", "arm", *SETTINGS, *_METHOD]
        close = difflib.get_close_matches(str(name), known, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
        raise ByTheWayError(f"There is no setting {name!r}; {meant}")
    return check(name, value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    raise ByTheWayError(f"{name} is {value!r}; it must be a text.")


def _texts(name: str, value: Any) -> tuple[str, ...]:
    """A text, or a list of them."""
    return tuple(_text(name, one) for one in value) if isinstance(value, list) else (_text(name, value),)


def _strength(name: str, value: Any) -> float:
    strength = _number(name, value)
    if not 0 < strength <= 1:
        raise ByTheWayError(f"{name} is {strength:g}; it must be greater than 0 and at most 1.")
    return strength


def _whole(name: str, value: Any) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with a hole is one of floats
        return int(value)
    raise ByTheWayError(f"{name} is {value!r}; it must be a whole number.")


def _fps(name: str, value: Any) -> float:
    fps = _number(name, value)
    if not SLOWEST <= fps <= FASTEST:
        raise ByTheWayError(f"{name} is {fps:g}; it must lie between {SLOWEST:g} and {FASTEST:g}.")
    return fps


def _number(name: str, value: Any) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):
            return float(value)
    raise ByTheWayError(f"{name} is {value!r}; it must be a number.")


SETTINGS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "negative_prompt": _text,
    "seed": _whole,
    "num_frames": _whole,
    "width": _whole,
    "height": _whole,
    "steps": _whole,
    "guidance_scale": _number,
    "fps": _fps,
    "image": _texts,
    "sketch": _texts,
    "video": _text,
    "strength": _strength,
    "lora": _texts,
}
"""What a row may give beside prompt, arm and the method's settings: by the names of `Request`, and files."""

STARTS: Final[tuple[Start, ...]] = ("image", "sketch", "video")
_OF_FILES: Final = (*STARTS, "strength", "lora")

_METHOD: Final = tuple(one.name for one in fields(ByTheWayConfig))
