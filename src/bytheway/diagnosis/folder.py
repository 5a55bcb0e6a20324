"""What is kept of a model, in the user's folder (`bytheway.files.data_folder`): JSON files, below the model's name.

Nothing in it is run. Importing this imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.files import data_folder, read_json_object

_LARGEST: Final = 1 << 20  # bytes of a file; one of ours has some thousands


def kept_folder(kind: str, model: str) -> Path:
    """Where things of a kind, such as "fits", are kept of a model."""
    words = re.sub(r"[^\w.-]+", "-", model.lower()).strip("-.")[-80:].strip("-.")
    return data_folder() / kind / (words or "model")


def kept_name(fingerprint: str, conditions: Mapping[str, Any]) -> str:
    """The name of a file about weights under some settings."""
    content = json.dumps([fingerprint, conditions], sort_keys=True)
    return f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"


def read_kept(path: Path, what: str) -> dict[str, Any] | None:
    """The JSON object in a kept file; None where there is none.

    Raises:
        ByTheWayError: it is no such file: too large, or no JSON object.
    """
    if path.is_file() and path.stat().st_size > _LARGEST:
        raise ByTheWayError(f"{path} is no {what} of bytheway's: it is larger than any; remove it.")
    return read_json_object(path, str(path))
