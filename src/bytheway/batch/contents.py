"""Digests of the files that clips start from and of LoRAs, by which clips are told apart wherever the files are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from bytheway.clips.inputs import image_place
from bytheway.errors import ByTheWayError


@lru_cache(maxsize=4096)
def content_of(images: Sequence[str], sketches: Sequence[str], video: str | None, loras: Sequence[str]) -> str | None:
    """A digest of what is in the files of a task, with their frames and weights; None where it has none.

    LoRAs that are no files of this machine count by their names.

    Raises:
        ByTheWayError: a file is not there, or cannot be read.
    """
    if not (images or sketches or video or loras):
        return None
    told = {
        "images": [[_digest(file), frame] for file, frame in map(image_place, images)],
        "sketches": [[_digest(file), frame] for file, frame in map(image_place, sketches)],
        "video": None if video is None else _digest(video),
        "loras": [_lora(one) for one in loras],
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _lora(text: str) -> list[str]:
    source, _, weight = text.rpartition("=")
    for name, how_much in ((text, "1"), (source, weight)):
        if name and Path(name).exists():
            return [_digest(name), how_much]
    return [text]


@lru_cache(maxsize=4096)
def _digest(place: str) -> str:
    """Of a file, or of the files of a folder with their names."""
    path = Path(place)
    try:
        if path.is_dir():
            inside = [[one.name, _digest(str(one))] for one in sorted(path.iterdir()) if one.is_file()]
            return hashlib.sha256(json.dumps(inside).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ByTheWayError(f"{place} cannot be read: {error.strerror or error}.") from error
