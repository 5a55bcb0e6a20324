"""Manifests: which clips a batch run has made, as a folder of Parquet files, one row a clip. pandas reads it as it is.

Every file of it is written once and whole, so that many may add to it. Importing this imports no torch; pyarrow is
imported where a manifest is read or written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError

ENDING: Final = ".parquet"
COLUMNS: Final[Mapping[str, str]] = {
    "id": "string",
    "path": "string",
    "arm": "string",
    "prompt": "string",
    "negative_prompt": "string",
    "seed": "int64",
    "num_frames": "int64",
    "width": "int64",
    "height": "int64",
    "steps": "int64",
    "guidance_scale": "float64",
    "fps": "float64",
    "free_init": "bool_",
    "model": "string",
    "weights": "string",
    "dtype": "string",
    "device": "string",
    "frames_sha256": "string",
    "settings": "string",
}
"""What a manifest says of a clip, and in which of pyarrow's types.

`path` is relative to the folder that the manifest is in, and `settings` all that the clip carries, as JSON.
"""


def row_of(path: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a clip, from the settings that it carries; what they do not say is null."""
    own = {"path": path, "settings": json.dumps(settings)}
    return {name: own.get(name, settings.get(name)) for name in COLUMNS}


def write_rows(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write one file of a manifest."""
    pyarrow = _pyarrow()
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), file)


def read_rows(file: Path, columns: Sequence[str] = tuple(COLUMNS)) -> Iterator[dict[str, Any]]:
    """The rows of one file of a manifest.

    Raises:
        ByTheWayError: it is damaged, or no file of a manifest.
    """
    pyarrow = _pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(columns=list(columns)):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, EOFError) as error:
        raise ByTheWayError(
            f"{file} is damaged or no file of a manifest; remove it, and run the batch again."
        ) from error


def is_manifest(place: Path) -> bool:
    """Whether a file, or the files of a folder, are those of a manifest, by their ending."""
    if place.is_dir():
        return next(place.glob(f"*{ENDING}"), None) is not None
    return place.suffix == ENDING and place.is_file()


def clips_in(place: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The clips that a manifest names, its folder or one file of it, with the settings they carry, each once.

    Raises:
        ByTheWayError: a file of it is damaged, or names no clip.
    """
    files = sorted(place.glob(f"*{ENDING}")) if place.is_dir() else [place]
    root = place.parent if place.is_dir() else place.parent.parent
    found: dict[Path, dict[str, Any]] = {}
    for file in files:
        for row in read_rows(file, ("path", "settings")):
            try:
                found.setdefault(root / row["path"], dict(json.loads(row["settings"])))
            except (KeyError, TypeError, ValueError) as error:
                raise ByTheWayError(f"{file} is no file of a manifest: a row of it names no clip.") from error
    return list(found.items())


def is_installed() -> bool:
    """Whether manifests can be written and read here."""
    try:
        _pyarrow()
    except ByTheWayError:
        return False
    return True


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ByTheWayError("A manifest needs pyarrow, which is not installed: pip install pyarrow.") from error
    return pyarrow
