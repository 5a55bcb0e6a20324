"""An experiment on disk: what it is, and where its clips and their scores are.

    FOLDER/experiment.json          what is made, with what
    FOLDER/<arm>/<prompt>-<k>.mp4   a clip, with its settings in it; k counts the seeds of a prompt from 0
    FOLDER/<arm>/<prompt>-<k>.json  its scores
    FOLDER/page.html, table.csv, scores.json, comparison.json

Every file is written beside its place and renamed, so that what is there is whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import Arm, parse_arms
from bytheway.files import write_text

EXPERIMENT: Final = "experiment.json"
FORMAT: Final = 1
_LONGEST_NAME: Final = 200  # bytes; file systems take 255, number and ending included


@dataclass(frozen=True)
class Experiment:
    """Where the clips of an experiment are.

    Attributes:
        folder: of all of it.
        arms: the first is the baseline.
        prompts: each once.
        seeds: how many clips there are of each prompt and arm.
    """

    folder: Path
    arms: tuple[Arm, ...]
    prompts: tuple[str, ...]
    seeds: int

    def names(self) -> list[str]:
        """The names of the clips of an arm without their ending, prompt by prompt."""
        return [f"{name}-{k}" for name in _file_names(self.prompts) for k in range(self.seeds)]

    def clips(self, arm: Arm) -> list[Path]:
        """The clips of an arm, whether they are there or not, prompt by prompt."""
        return [self.folder / arm.folder / f"{name}.mp4" for name in self.names()]

    def places(self) -> list[tuple[str, int]]:
        """Prompt, and which of its seeds from 0, of each clip of an arm."""
        return [(prompt, k) for prompt in self.prompts for k in range(self.seeds)]

    @property
    def complete(self) -> bool:
        """Whether every clip is there."""
        return all(path.is_file() for arm in self.arms for path in self.clips(arm))


def _file_names(prompts: Sequence[str]) -> list[str]:
    """A name for each prompt: itself, as VBench asks for, where a file can be called so."""
    seen: dict[str, int] = {}
    names = []
    for prompt in prompts:
        name = re.sub(r"[^\w '(),.;-]+", "_", prompt).strip(" .")
        name = name.encode()[:_LONGEST_NAME].decode(errors="ignore").strip(" .") or "clip"
        number = seen[name.casefold()] = seen.get(name.casefold(), 0) + 1
        names.append(name if number == 1 else f"{name} ({number})")
    return names


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What `experiment.json` says; None for a folder that is empty or not there.

    Raises:
        ByTheWayError: the folder holds something else, or the file is damaged or of a later version.
    """
    path = folder / EXPERIMENT
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir())):
            raise ByTheWayError(
                f"{folder} is there already and is no experiment; give another folder.", setting="output"
            )
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        known = facts["format"] == FORMAT
        _ = facts["model"].items(), facts["sampling"].items()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ByTheWayError(
            f"{path} is damaged; remove it to go on with the clips that are there, or give another folder."
        ) from None
    if not known:
        raise ByTheWayError(f"{path} was written by another version of bytheway; give another folder.")
    return dict(facts)


def open_experiment(folder: Path) -> Experiment:
    """The experiment in a folder, as `bytheway evaluate` has left it, its clips all there or not.

    Raises:
        ByTheWayError: there is none, or what says what it is is damaged.
    """
    facts = read_facts(folder) if folder.is_dir() else None
    if facts is None:
        raise ByTheWayError(f"{folder} holds no experiment; make one with `bytheway evaluate`.")
    try:
        arms = parse_arms(",".join(facts["arms"]))
        return Experiment(folder, arms, tuple(facts["prompts"]), len(facts["seeds"]))
    except (ByTheWayError, KeyError, TypeError):
        raise ByTheWayError(f"{folder / EXPERIMENT} is damaged; make the experiment anew in another folder.") from None


def check_same(folder: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise ByTheWayError where an experiment that is there has another model or sampling than is wanted.

    Prompts, arms and the number of seeds may change: clips that are there stay, and others are made.
    """
    for part in ("model", "sampling"):
        for name, value in wanted[part].items():
            before = there[part].get(name)
            if before != value:
                raise ByTheWayError(
                    f"{folder} holds an experiment with {name} {before}, not {value}; give another folder.",
                    setting="output",
                )


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `experiment.json`."""
    write_text(folder / EXPERIMENT, json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False) + "\n")
