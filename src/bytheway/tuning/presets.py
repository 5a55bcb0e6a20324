"""Presets that were tuned on this machine, in the user's folder: a config, and beside it what is known of it.

Importing this imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.folder import kept_folder, kept_name, read_kept
from bytheway.errors import ByTheWayError
from bytheway.files import data_folder, write_text

_FOLDER: Final = "presets"
_FORMAT: Final = 1


@dataclass(frozen=True)
class TunedPreset:
    """A config that a search found for a model.

    Attributes:
        model: what the user calls it.
        fingerprint: of its weights.
        config: the settings.
        gains: by objective, what they gain on held-out prompts, in words.
    """

    model: str
    fingerprint: str
    config: ByTheWayConfig
    gains: Mapping[str, str]


def save_preset(preset: TunedPreset, conditions: Mapping[str, Any]) -> Path:
    """Keep a preset, in place of an earlier one of the same model and search.

    Args:
        preset: what was found.
        conditions: of the search: its sampling, prompts and objectives.

    Returns:
        the .toml file of its config.

    Raises:
        ByTheWayError: a file cannot be written.
    """
    path = kept_folder(_FOLDER, preset.model) / kept_name(preset.fingerprint, conditions)
    config = path.with_suffix(".toml")
    preset.config.save(config)
    facts = {"model": preset.model, "fingerprint": preset.fingerprint, "gains": dict(preset.gains)}
    write_text(path, json.dumps({"format": _FORMAT, **facts}, indent=1, ensure_ascii=False) + "\n")
    return config


def tuned_presets() -> tuple[list[tuple[Path, TunedPreset]], list[str]]:
    """The presets with the files of their configs, and why others that lie there are none, in sentences."""
    found, refused = [], []
    for path in sorted((data_folder() / _FOLDER).glob("*/*.json")):
        try:
            found.append((path.with_suffix(".toml"), _read(path)))
        except ByTheWayError as error:
            refused.append(str(error))
    return found, refused


def _read(path: Path) -> TunedPreset:
    stored = read_kept(path, "preset")
    try:
        if stored is None or stored["format"] != _FORMAT:
            raise ValueError
        model, fingerprint, gains = stored["model"], stored["fingerprint"], dict(stored["gains"])
        if not all(isinstance(word, str) for word in (model, fingerprint, *gains.values())):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise ByTheWayError(f"{path} is damaged or no preset of bytheway's; remove it.") from error
    return TunedPreset(model, fingerprint, ByTheWayConfig.load(path.with_suffix(".toml")), gains)
