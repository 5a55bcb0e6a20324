"""A user study drawn from an experiment, with blind copies of its clips."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np

from bytheway.clips.read import load_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.manifest_clips import ClipsByArm
from bytheway.evaluation.questions import QUESTIONS, questions_named
from bytheway.evaluation.votes.clips import ENDING, alter, change, copy_without_traces, shape_of, write_altered
from bytheway.evaluation.votes.study import CHECKED, Altered, Pair, Study

USUAL_PAIRS: Final = 20
USUAL_SHARE: Final = 0.1
LARGEST_SHARE: Final = 0.25
PLAIN: Final = 0.5
"""The least mean change of a pixel, of 255, by which a check must differ: less might honestly be overseen."""
_LOOKED_AT: Final = 24  # clips, of which the checks are made of those that move most
_KINDS: Final[tuple[Altered, ...]] = ("shuffled", "frozen")


@dataclass(frozen=True)
class Wanted:
    """What is asked for of a study; None: the usual, or what the study that is there has.

    Attributes:
        pairs: how many each person is shown.
        questions: the names of those that are asked.
        checks: attention checks as a share of the pairs; as many pairs are repeated.
    """

    pairs: int | None = None
    questions: tuple[str, ...] | None = None
    checks: float | None = None

    def check(self) -> None:
        """Raise ByTheWayError for what no study can have."""
        if self.questions is not None:
            questions_named(self.questions)
        if self.pairs is not None and self.pairs < 1:
            raise ByTheWayError(f"Everybody is shown {self.pairs} pairs; give 1 or more.", setting="pairs")
        if self.checks is not None and not 0 <= self.checks <= LARGEST_SHARE:
            raise ByTheWayError(
                f"The share of attention checks is {self.checks:g}; it must be from 0 to {LARGEST_SHARE:g}.",
                setting="checks",
            )

    def check_same(self, study: Study) -> None:
        """Raise ByTheWayError where the study that is there is another one: it was fixed before the first vote."""
        there = {"pairs": study.pairs_each, "questions": set(study.questions), "checks": study.checks_share}
        wanted = {
            "pairs": self.pairs if self.pairs is None else min(self.pairs, len(study.pairs)),
            "questions": None if self.questions is None else set(self.questions),
            "checks": self.checks,
        }
        for name, value in wanted.items():
            if value is not None and value != there[name]:
                has = ", ".join(study.questions) if name == "questions" else there[name]
                raise ByTheWayError(
                    f"The study has begun with {name} {has} and stays so; leave that out, or remove the folder votes "
                    "with all votes in it.",
                    setting=name,
                )


def pairs_of(experiment: ClipsByArm) -> tuple[list[tuple[Pair, tuple[Path, Path]]], list[str]]:
    """The pairs of every two arms with their files, not named yet, and in sentences which are left out.

    Raises:
        ByTheWayError: there is no pair.
    """
    pairs, left_out = [], []
    clips = {arm: experiment.clips(arm) for arm in experiment.arms}
    for number, (prompt, seed) in enumerate(experiment.places()):
        for one, other in combinations(experiment.arms, 2):
            files = clips[one][number], clips[other][number]
            missing = [path for path in files if not path.is_file()]
            if missing:
                left_out.append(f"{missing[0]} is not there; the pair is left out.")
                continue
            shape, second = map(shape_of, files)
            if shape != second:
                left_out.append(f"{files[0]} and {files[1]} differ in length, rate or size; the pair is left out.")
                continue
            pairs.append((Pair(prompt, seed, (one.name, other.name), ("", ""), *shape), files))
    if not pairs:
        raise ByTheWayError(f"{experiment.folder} holds no pair of clips; make them with `bytheway evaluate`.")
    return pairs, left_out


def prepare(experiment: ClipsByArm, folder: Path, wanted: Wanted, seed: int) -> tuple[Study, list[str]]:
    """Draw a study and write its clips.

    Args:
        experiment: whose clips are compared.
        folder: where the blind clips go; it is empty.
        wanted: what is asked for.
        seed: everything that is drawn comes from it but the random ids.

    Returns:
        The study, and in sentences what is left out of it.

    Raises:
        ByTheWayError: there is no pair, or no clip of which a fair attention check can be made.
    """
    wanted.check()
    questions = wanted.questions or tuple(question.name for question in QUESTIONS)
    found, left_out = pairs_of(experiment)
    share = USUAL_SHARE if wanted.checks is None else wanted.checks
    if share and CHECKED not in questions:
        raise ByTheWayError(
            f"An attention check has a known answer to {CHECKED} alone; ask that too, or leave the checks out, with a "
            "share of 0.",
            setting="checks",
        )
    pairs_each = min(wanted.pairs or USUAL_PAIRS, len(found))
    checks = math.ceil(round(share * pairs_each, 9))
    ids: dict[Path, str] = {}
    for path in dict.fromkeys(path for _, files in found for path in files):
        ids[path] = secrets.token_hex(16)
        copy_without_traces(path, folder / f"{ids[path]}{ENDING}")
    pairs = tuple(_named(pair, ids[files[0]], ids[files[1]]) for pair, files in found)
    rng = np.random.default_rng([seed, 0])
    drawn = _checks(found, checks, ids, folder, rng) if checks else ()
    study = Study(seed, questions, pairs, drawn, pairs_each, checks, share)
    return study, left_out


def _named(pair: Pair, first: str, second: str) -> Pair:
    return Pair(pair.prompt, pair.seed, pair.arms, (first, second), pair.frames, pair.fps, pair.size, pair.altered)


def _plainness(clips: Sequence[Path], rng: np.random.Generator) -> dict[Altered, dict[Path, float]]:
    """How much each clip differs from its frozen and from a shuffled version, in mean change of a pixel."""
    plain: dict[Altered, dict[Path, float]] = {kind: {} for kind in _KINDS}
    for path in clips:
        frames, _ = load_video(path)
        moves = change(frames)
        plain["frozen"][path] = moves
        plain["shuffled"][path] = change(alter(frames, "shuffled", rng)) - moves
    return plain


def _checks(
    found: Sequence[tuple[Pair, tuple[Path, Path]]],
    count: int,
    ids: dict[Path, str],
    folder: Path,
    rng: np.random.Generator,
) -> tuple[Pair, ...]:
    """Attention checks, shuffled and frozen in turn, of the clips whose alteration is plainest to see."""
    owners = {path: (pair, side) for pair, files in found for side, path in enumerate(files)}
    looked_at = [list(owners)[k] for k in rng.permutation(len(owners))[: max(_LOOKED_AT, 2 * count)]]
    plain = _plainness(looked_at, rng)
    checks: list[Pair] = []
    for k in range(count):
        choices = [
            (plain[kind][path], path, kind)
            for kind in (_KINDS[k % 2], _KINDS[(k + 1) % 2])
            for path in sorted(plain[kind], key=plain[kind].__getitem__, reverse=True)
            if plain[kind][path] >= PLAIN
        ]
        if not choices:
            break
        _, path, kind = choices[0]
        for its in plain.values():
            del its[path]
        name = secrets.token_hex(16)
        write_altered(path, folder / f"{name}{ENDING}", kind, rng)
        pair, side = owners[path]
        arms = (pair.arms[side], kind)
        checks.append(Pair(pair.prompt, pair.seed, arms, (ids[path], name), pair.frames, pair.fps, pair.size, kind))
    if not checks:
        raise ByTheWayError(
            "No clip moves enough to be told from its frozen or shuffled version; leave the attention checks out, with "
            "a share of 0.",
            setting="checks",
        )
    return tuple(checks)
