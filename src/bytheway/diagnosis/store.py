"""Where fits are kept: in the folder of the user (`bytheway.diagnosis.folder`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from bytheway.diagnosis.fit import Fit
from bytheway.diagnosis.folder import kept_folder, kept_name, read_kept
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoisers_of
from bytheway.families.pipeline import VideoPipeline
from bytheway.files import write_text

_SAMPLED: Final = 16  # values of each tensor that a fingerprint goes by


def fits_folder(model: str) -> Path:
    """Where the fits of a model are kept."""
    return kept_folder("fits", model)


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
