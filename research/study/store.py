"""Where results lie: one file of latents for each block of prompts, one of readings beside it for each judge.

`<out>/<model>/<treatment>/<first>-<stop>.npz`, `<first>-<stop>.<judge>.npz`; a file is there wholly or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bytheway.errors import ByTheWayError
from bytheway.evaluation.provenance import fingerprint
from bytheway.files import check_file, write_text, written
from bytheway.models import load
from bytheway.models.sources import read_json
from research.study.sampling import RECORDED, Arrays, Sampling

SAMPLES = "npz"
STUDY = "study.json"


@dataclass(frozen=True)
class Place:
    """A treatment of a model, in a store."""

    out: Path
    model: str
    key: str

    @property
    def folder(self) -> Path:
        return self.out / self.model / self.key

    def samples(self, first: int, stop: int) -> Path:
        return self.folder / f"{first:05d}-{stop:05d}.npz"

    def readings(self, first: int, stop: int, judge: str) -> Path:
        return self.folder / f"{first:05d}-{stop:05d}.{judge}.npz"

    def lock(self, first: int, stop: int) -> Path:
        return self.out / "locks" / f"{self.model}-{self.key}-{first:05d}-{stop:05d}.lock"


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write them under their names, wholly or not at all."""
    with written(path) as draft:
        np.savez(draft, allow_pickle=False, **arrays)


def load_arrays(path: Path, names: tuple[str, ...] | None = None) -> Arrays:
    """The arrays of a file, or those of them that are named."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in names or stored.files}


def load_readings(place: Place, judge: str) -> Arrays:
    """Everything that the judge has read of a treatment, arrays (n, clips of a prompt, ...); none where nothing is.

    `number` (n,) are the prompts' numbers, ascending.
    """
    blocks = _blocks(place, f"{judge}.npz")
    return _joined({numbers: load_arrays(place.readings(*numbers, judge)) for numbers in blocks})


def load_records(place: Place) -> Arrays:
    """Energies, disparities and betas (n, steps, sites) of the clips that were recorded, by `number` as above.

    `sites` (sites,) are the names of the blocks.
    """
    found: dict[tuple[int, int], Arrays] = {}
    sites = np.array([])
    for numbers in sampled(place):
        with np.load(place.samples(*numbers), allow_pickle=False) as stored:
            if "sites" in stored:
                sites = stored["sites"]
                found[numbers] = {name: stored[name] for name in RECORDED}
    return _joined(found) | {"sites": sites} if found else {}


def load_first(place: Place, count: int) -> np.ndarray | None:
    """Latents of the first prompts, (count, C, F, h, w); None where they are not all there."""
    blocks = [numbers for numbers in sampled(place) if numbers[0] < count]
    found = _joined({numbers: load_arrays(place.samples(*numbers), ("latents",)) for numbers in blocks})
    if not found or not np.array_equal(found["number"][:count], np.arange(count)):
        return None
    return found["latents"][:count]


def count_unread(out: Path, judge: str) -> int:
    """Blocks of samples that this judge has not read."""
    samples = (path for path in out.glob("*/*/[0-9]*.npz") if path.name.count(".") == 1)
    return sum(not path.with_suffix(f".{judge}.npz").exists() for path in samples)


def claim(out: Path, models: Mapping[str, str], sampling: Sampling) -> None:
    """Note how clips are sampled, and the weights and schedules of the models, in `study.json`.

    Raises:
        ByTheWayError: the store holds clips that were sampled otherwise, or by another model of the same name.
    """
    check_file(out / STUDY)
    facts = _checked(out, _prints(models) | asdict(sampling))
    write_text(out / STUDY, json.dumps(facts, indent=1) + "\n")


def check(out: Path, models: Mapping[str, str]) -> None:
    """Raise ByTheWayError where the store holds clips of other models with these names."""
    _checked(out, _prints(models))


def _checked(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What is noted already, and the facts; they must agree."""
    noted = _noted(out)
    differ = [name for name, value in facts.items() if noted.get(name, value) != value]
    if differ:
        raise ByTheWayError(f"{out} holds results with other {', '.join(differ)}; choose another folder with --out.")
    return noted | facts


def _noted(out: Path) -> dict[str, Any]:
    return (read_json(str(out), STUDY) if out.is_dir() else None) or {}


def _prints(models: Mapping[str, str]) -> dict[str, Any]:
    return {f"weights of {name}": fingerprint(load(source, device="cpu").components) for name, source in models.items()}


def sampling_of(out: Path) -> Sampling:
    """How the stored clips were sampled."""
    noted = _noted(out)
    if not noted:
        raise ByTheWayError(f"{out} holds no results; python -m research.study run makes them.")
    return Sampling(**{field.name: noted[field.name] for field in fields(Sampling)})


def sampled(place: Place) -> list[tuple[int, int]]:
    """First and stop of the blocks of prompts whose clips are there."""
    return _blocks(place, SAMPLES)


def _blocks(place: Place, ending: str) -> list[tuple[int, int]]:
    """First and stop of the files with an ending: samples with npz, readings with their judge's before it."""
    names = (path.name.split(".", 1) for path in place.folder.glob("[0-9]*.npz"))
    chosen = sorted(numbers.split("-") for numbers, rest in names if rest == ending)
    return [(int(first), int(stop)) for first, stop in chosen]


def _joined(blocks: dict[tuple[int, int], Arrays]) -> Arrays:
    """Blocks of prompts as one; a prompt that is in several counts once."""
    if not blocks:
        return {}
    numbers = np.concatenate([np.arange(*block) for block in blocks])
    number, where = np.unique(numbers, return_index=True)
    names = next(iter(blocks.values()))
    return {"number": number} | {name: np.concatenate([a[name] for a in blocks.values()])[where] for name in names}
