"""What was recorded of models' vanilla clips on this machine, in the user's folder (`bytheway.diagnosis.folder`)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bytheway.diagnosis.curves import Curve, Curves
from bytheway.diagnosis.folder import kept_folder, kept_name, read_kept
from bytheway.errors import ByTheWayError
from bytheway.files import data_folder, write_text

_FOLDER: Final = "auto"
_FORMAT: Final = 1


def save_observed(
    model: str, fingerprint: str, conditions: Mapping[str, Any], by_anchor: Mapping[str, Sequence[Curves]]
) -> Path:
    """Keep what was recorded of a model's vanilla clips; returns where.

    Raises:
        ByTheWayError: the file cannot be written.
    """
    path = kept_folder(_FOLDER, model) / kept_name(fingerprint, conditions)
    anchors = {anchor: [_stored(one) for one in clips] for anchor, clips in by_anchor.items()}
    facts = {"model": model, "fingerprint": fingerprint, "conditions": conditions, "anchors": anchors}
    write_text(path, json.dumps({"format": _FORMAT, **facts}, indent=1) + "\n")
    return path


def find_observed(fingerprint: str, conditions: Mapping[str, Any]) -> tuple[Path, dict[str, list[Curves]]] | None:
    """What was recorded of these very weights under these settings, whatever the model was called; None: nothing.

    Raises:
        ByTheWayError: the file is damaged, or of other weights or settings than its name says.
    """
    path = next((data_folder() / _FOLDER).glob(f"*/{kept_name(fingerprint, conditions)}"), None)
    stored = None if path is None else read_kept(path, "record")
    if path is None or stored is None:
        return None
    try:
        same = stored["format"] == _FORMAT and stored["fingerprint"] == fingerprint
        if not same or stored["conditions"] != json.loads(json.dumps(conditions)):
            raise ByTheWayError(f"{path} is of another model or other settings; remove it, and it is measured anew.")
        return path, {str(anchor): [_curves(one) for one in clips] for anchor, clips in stored["anchors"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ByTheWayError):
            raise
        raise ByTheWayError(f"{path} is damaged or none of bytheway's; remove it, and it is measured anew.") from error


def _stored(curves: Curves) -> dict[str, Any]:
    def lists(by_block: Mapping[str, Curve]) -> dict[str, list[float]]:
        return {block: curve.tolist() for block, curve in by_block.items()}

    return {
        "blocks": curves.blocks,
        "steps": curves.steps,
        "timesteps": curves.timesteps,
        "energy": lists(curves.energy),
        "disparity": lists(curves.disparity),
    }


def _curves(stored: Mapping[str, Any]) -> Curves:
    """Vanilla curves out of JSON: beta is 1 wherever there is an energy."""
    steps = tuple(map(int, stored["steps"]))

    def curve(values: Sequence[float]) -> Curve:
        made = np.array([float(value) for value in values])
        if len(made) != len(steps) or not all(map(math.isfinite, made)):
            raise ValueError
        return made

    energy, disparity = (
        {str(block): curve(values) for block, values in stored[name].items()} for name in ("energy", "disparity")
    )
    blocks = tuple(map(str, stored["blocks"]))
    if not steps or set(energy) != set(blocks) or not set(disparity) <= set(blocks):
        raise ValueError
    ones = {block: np.ones(len(steps)) for block in blocks}
    return Curves(blocks, steps, tuple(map(float, stored["timesteps"])), energy, disparity, ones)
