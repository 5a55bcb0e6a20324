"""The clips of a batch run as arms that are set against each other, read from its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.experiment.arms import VANILLA, Arm
from bytheway.evaluation.experiment.folder import open_experiment
from bytheway.evaluation.manifest import clips_in, is_manifest


class ClipsByArm(Protocol):
    """Clips of the same prompts and seeds, made in several ways: an experiment, or what a manifest names."""

    @property
    def folder(self) -> Path:
        """Where what is found out about them goes."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The first is the baseline."""

    def places(self) -> list[tuple[str, int]]:
        """Prompt, and which of its seeds, of each clip of an arm: the same for a clip however many others come."""

    def clips(self, arm: Arm) -> list[Path]:
        """The clips of an arm, whether they are there or not, one for each place."""


@dataclass(frozen=True)
class ManifestClips:
    """What a manifest names.

    Attributes:
        folder: of the batch run.
        arms: vanilla first, where it is one of them.
        by_place: of each prompt and seed that every arm has a clip of, those clips, in the order of the arms.
    """

    folder: Path
    arms: tuple[Arm, ...]
    by_place: dict[tuple[str, int], tuple[Path, ...]]

    def places(self) -> list[tuple[str, int]]:
        """Prompt and seed of each clip of an arm."""
        return list(self.by_place)

    def clips(self, arm: Arm) -> list[Path]:
        """The clips of an arm, one for each place."""
        number = self.arms.index(arm)
        return [paths[number] for paths in self.by_place.values()]


def open_clips(place: Path) -> ClipsByArm:
    """The experiment in a folder, or the clips that a manifest of a batch run names, its folder or a file of it.

    Raises:
        ByTheWayError: there is neither, or it is damaged; or the manifest has no two arms with clips of the same prompt
            and seed, or an arm has two of one.
    """
    return _of_manifest(place) if is_manifest(place) else open_experiment(place)


def _of_manifest(place: Path) -> ManifestClips:
    by_arm: dict[str, dict[tuple[str, int], Path]] = {}
    for clip in (ClipFile(path, settings) for path, settings in clips_in(place)):
        arm, made_from = clip.settings.get("arm"), clip.made_from
        if not isinstance(arm, str) or made_from is None:
            raise ByTheWayError(f"{clip.path} does not say its arm, prompt and seed; bytheway batch did not make it.")
        other = by_arm.setdefault(arm, {}).setdefault(made_from, clip.path)
        if other != clip.path:
            raise ByTheWayError(f"{other} and {clip.path} carry the same prompt and seed; leave one of them out.")
    names = sorted(by_arm, key=lambda name: (name != VANILLA, name))
    shared = _shared([by_arm[name] for name in names])
    if len(names) < 2 or not shared:
        raise ByTheWayError(
            f"{place} names no clips of one prompt and seed in two arms; make a batch of the arms vanilla and enhanced."
        )
    root = place.parent if place.is_dir() else place.parent.parent
    return ManifestClips(
        root,
        tuple(Arm(name) for name in names),
        {made_from: tuple(by_arm[name][made_from] for name in names) for made_from in shared},
    )


def _shared(arms: Sequence[dict[tuple[str, int], Path]]) -> list[tuple[str, int]]:
    """Prompts and seeds that every arm has a clip of, in the order of the prompts' names."""
    return sorted(set.intersection(*(set(arm) for arm in arms))) if arms else []
