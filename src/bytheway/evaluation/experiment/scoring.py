"""Scores of an experiment's clips, kept beside each clip, so that no clip is measured twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.comparison import Comparison, compare
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.measures.measure import Measure
from bytheway.evaluation.scores import FORMAT, ClipScores, checked, clip_scores_from, tried
from bytheway.files import read_json_object, sha256_of, write_text
from bytheway.generation.existing import settings_at


def kept_or_measured(path: Path, measures: Sequence[Measure], choice: MeasureChoice) -> ClipScores:
    """The scores of a clip: those beside it where they are of this very file, else measured and written there.

    Raises:
        ByTheWayError: the clip cannot be measured at all.
    """
    wanted = [name for measure in measures for name in measure.names]
    clip = ClipFile(path, settings_at(path))
    made = {"format": FORMAT, "sha256": sha256_of(path), "networks": _networks(choice)}
    kept = _kept(path, made)
    missing = [one for one in measures if kept is None or not _has(kept, one.names)]
    if missing:
        fresh = tried(clip, missing)
        old = kept or ClipScores(clip, fresh.num_frames, fresh.height, fresh.width, fresh.fps, {}, {})
        kept = checked(
            replace(
                fresh,
                measurements={**old.measurements, **fresh.measurements},
                failed={**old.failed, **fresh.failed},
            )
        )
        write_text(_beside(path), json.dumps({**made, "scores": kept.to_dict()}) + "\n")
    assert kept is not None
    return replace(
        kept,
        clip=clip,
        measurements={name: kept.measurements[name] for name in wanted if name in kept.measurements},
        failed={name: kept.failed[name] for name in wanted if name in kept.failed},
    )


def compared(
    experiment: Experiment, scores: Mapping[Path, ClipScores], failures: Sequence[str] = ()
) -> list[Comparison]:
    """Every other arm against the baseline, the clips of one prompt and seed paired.

    Raises:
        ByTheWayError: an arm has no clip that can be compared.
    """
    first, *others = experiment.arms
    found = []
    for arm in others:
        both = zip(experiment.clips(first), experiment.clips(arm), strict=True)
        pairs = [(scores[a], scores[b]) for a, b in both if a in scores and b in scores]
        found.append(compare((first.name, arm.name), pairs, failures))
    return found


def _kept(path: Path, made: Mapping[str, Any]) -> ClipScores | None:
    try:
        stored = read_json_object(_beside(path), str(_beside(path)))
        if stored is None or {name: stored.get(name) for name in made} != made:
            return None
        return clip_scores_from(stored["scores"], path)
    except (ByTheWayError, KeyError, TypeError, ValueError):  # damaged by somebody: it is made anew
        return None


def _has(kept: ClipScores, names: Sequence[str]) -> bool:
    return all(name in kept.measurements or name in kept.failed for name in names)


def _networks(choice: MeasureChoice) -> dict[str, Any]:
    """Which networks were asked for: with others the scores would be others."""
    return {
        "weights": {name: _digest(Path(place)) for name, place in choice.weights.items()},
        "flow": choice.flow,
        "brought": {name: _digest(Path(file)) for name, file in choice.brought.items()},
        "dtype": choice.dtype,
    }


def _digest(place: Path) -> list[str]:
    """The hashes of a file, or of the files of a folder, each computed once as long as it is the same."""
    files = sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else [place]
    return [_hash(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()]


@cache
def _hash(file: Path, changed: int, size: int) -> str:
    return sha256_of(file)


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")
