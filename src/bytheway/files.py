"""Files that are written wholly or not at all."""

import os
from pathlib import Path

from bytheway.errors import ByTheWayError


def write_atomically(path: Path, text: str) -> None:
    """Write beside `path`, then move into place: a reader never meets half a file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ByTheWayError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)
