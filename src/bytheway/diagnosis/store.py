"""Where fits and the like are kept: JSON files in a folder of the user, below the name of the model they are of.

The folder is `BYTHEWAY_DATA` where that is set, else `bytheway` in the place that the platform has for such data:
`~/.local/share` (or `XDG_DATA_HOME`) on Linux, `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on Windows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from bytheway.diagnosis.fit import Fit
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoisers_of
from bytheway.families.pipeline import VideoPipeline
from bytheway.files import read_json_object, write_text

_LARGEST: Final = 1 << 20  # bytes of a file; one of ours has a few thousand
_SAMPLED: Final = 16  # values of each tensor that a fingerprint goes by


def data_folder() -> Path:
    """The user's folder of what bytheway keeps; it need not be there."""
    chosen = os.environ.get("BYTHEWAY_DATA")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "bytheway"


def kept_folder(kind: str, model: str) -> Path:
    """Where things of a kind, such as "fits", are kept of a model."""
    words = re.sub(r"[^\w.-]+", "-", model.lower()).strip("-.")[-80:].strip("-.")
    return data_folder() / kind / (words or "model")


def fits_folder(model: str) -> Path:
    """Where the fits of a model are kept."""
    return kept_folder("fits", model)


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


def fit_path(model: str, fingerprint: str, conditions: Mapping[str, Any]) -> Path:
    """The file of a fit: below the name of its model, named after a digest of its weights and settings."""
    return fits_folder(model) / kept_name(fingerprint, conditions)


def save_fit(fit: Fit) -> Path:
    """Keep a fit, in place of an earlier one of the same model and settings; returns where it is.

    Raises:
        ByTheWayError: the file cannot be written.
    """
    path = fit_path(fit.model, fit.fingerprint, fit.conditions)
    write_text(path, json.dumps(fit.to_dict(), indent=1) + "\n")
    return path


def find_fit(model: str, pipe: VideoPipeline, conditions: Mapping[str, Any]) -> Fit | None:
    """The fit of a model for clips that are made with these settings; None where there is none.

    Args:
        model: its name, as the user gave it.
        pipe: the model itself; a fit is of its very weights.
        conditions: see `Fit`.

    Raises:
        ByTheWayError: the file is damaged, or of another model than its name says.
    """
    if not fits_folder(model).is_dir():  # before anybody looks at the weights
        return None
    fingerprint = fingerprint_of(pipe)
    path = fit_path(model, fingerprint, conditions)
    stored = read_kept(path, "fit")
    if stored is None:
        return None
    try:
        fit = Fit.from_dict(stored)
    except ByTheWayError as error:
        raise ByTheWayError(f"{path}: {error}") from error
    if (fit.fingerprint, dict(fit.conditions)) != (fingerprint, json.loads(json.dumps(conditions))):
        raise ByTheWayError(f"{path} is the fit of another model or other settings; remove it, and fit the model anew.")
    return fit


def fingerprint_of(pipe: VideoPipeline) -> str:
    """16 hexadecimal digits that other weights, another precision or another noise schedule would change.

    Of every tensor of the denoisers the shape and a few values are looked at, which takes a moment for any model.
    """
    schedule = sorted((name, value) for name, value in pipe.scheduler.config.items() if not name.startswith("_"))
    digest = hashlib.sha256(json.dumps(schedule, default=str).encode())
    for denoiser in denoisers_of(pipe):
        for name, tensor in sorted(denoiser.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            if tensor.numel() and not tensor.is_meta:
                last, count = tensor.numel() - 1, min(_SAMPLED, tensor.numel())
                places = [last * place // max(count - 1, 1) for place in range(count)]
                values = tensor.detach().reshape(-1)[torch.tensor(places, device=tensor.device)]
                digest.update(values.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
