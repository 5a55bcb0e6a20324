"""Files of prompts."""

from pathlib import Path

from bytheway.errors import ByTheWayError


def read_prompts(file: Path) -> tuple[str, ...]:
    """The prompts of a text file: one a line, stripped; blank lines and those that begin with # are skipped.

    Raises:
        ByTheWayError: the file cannot be read, is no text, or holds no prompt.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ByTheWayError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ByTheWayError(f"{file} is no text file; write one prompt a line, in UTF-8.") from error
    prompts = tuple(line for line in map(str.strip, lines) if line and not line.startswith("#"))
    if not prompts:
        raise ByTheWayError(f"{file} holds no prompt; write one a line.")
    return prompts
