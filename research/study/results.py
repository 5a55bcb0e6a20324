"""The figures of the study, from what is stored: cells against vanilla, and sweeps. No torch model is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

import numpy as np

from bytheway.evaluation.statistics import NOTHING, Estimate, mean
from research.diorama.measures import NAMES
from research.study import store
from research.study.plan import SWEEPS_FROM
from research.study.reading import FRAME_FEATURES, MOTION_FEATURES
from research.study.sampling import Arrays
from research.study.statistics import Frechet
from research.study.variants import REFERENCE, RENDERS, VANILLA, WORLD, Axis, Swap, Treatment, Variant, sweep

MEASURES: Mapping[str, tuple[str, str]] = {
    **NAMES,
    "confidence": ("confidence in the subject", "%"),
    "consistency": ("consistency, frame to frame", ""),
    "to_first": ("consistency with the first frame", ""),
    "flow": ("optical flow", "px/frame"),
    "dynamic": ("dynamic degree", "%"),
    FRAME_FEATURES: ("Fréchet distance, frames", ""),
    MOTION_FEATURES: ("Fréchet distance, motion", ""),
}
BASELINE = "vanilla"


@dataclass(frozen=True)
class Comparison:
    """Treatments by their names, on the n prompts that all of them have: figures, and differences to vanilla.

    `values[name][measure]`; `differences` has no vanilla and no renders.
    """

    n: int
    values: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class Choice:
    """A setting, and what it changes of vanilla: the dynamic degree and the share of broken clips."""

    variant: Variant
    dynamic: Estimate
    broken: Estimate


class Results:
    """Everything stored in a folder, as one judge reads it."""

    def __init__(self, out: Path, judge: str) -> None:
        self.out, self.judge = out, judge
        self.sampling = store.sampling_of(out)

    @cached_property
    def models(self) -> list[str]:
        """The names of the models that have vanilla clips or swaps, the shipped one first."""
        folders = (path.name for path in self.out.iterdir() if path.is_dir() and path.name != WORLD)
        return sorted(name for name in folders if self.clips(name, VANILLA) or self.swaps(name))

    def clips(self, model: str, treatment: Treatment) -> Arrays:
        """Readings of one clip for each prompt, (n, ...), and the prompts' `number`s; nothing where none are."""
        return {
            name: values if name == "number" else values[:, 0] for name, values in self._load(model, treatment).items()
        }

    def swaps(self, model: str) -> Arrays:
        """Readings (pairs, steps + 1, ...) of the clips whose prompt changes, and the pairs' `number`s."""
        return self._load(model, Swap())

    def records(self, model: str, variant: Variant) -> Arrays:
        """See `store.load_records`."""
        return store.load_records(store.Place(self.out, model, variant.key))

    def compare(
        self, model: str, variants: Mapping[str, Variant], measures: Iterable[str], *, swept: bool = False
    ) -> Comparison | None:
        """The treatments that have results, and the renders; None where vanilla has nothing to be compared with.

        Over the prompts of the sweeps, or over the others.
        """
        found = {name: self.clips(model, variant) for name, variant in ({BASELINE: VANILLA} | dict(variants)).items()}
        found = {name: arrays for name, arrays in found.items() if arrays}
        if BASELINE not in found or len(found) == 1:
            return None
        numbers = reduce(np.intersect1d, [arrays["number"] for arrays in found.values()])
        numbers = numbers[(numbers >= SWEEPS_FROM) == swept]
        if not len(numbers):
            return None
        chosen = {name: _of(arrays, numbers) for name, arrays in found.items()}
        renders = self.clips(WORLD, RENDERS)
        if renders:
            chosen = {"renders": _of(renders, numbers)} | chosen
        frechet = self._frechet(numbers)
        values = {name: {m: _value(arrays, m, frechet) for m in measures} for name, arrays in chosen.items()}
        baseline = chosen[BASELINE]
        differences = {
            name: {m: _difference(arrays, baseline, m, frechet) for m in measures}
            for name, arrays in chosen.items()
            if name not in (BASELINE, "renders")
        }
        return Comparison(len(numbers), values, differences)

    def sweep(self, model: str, axis: Axis, measures: Iterable[str]) -> Comparison | None:
        return self.compare(model, sweep(axis), measures, swept=True)

    def best(self, model: str) -> Choice | None:
        """The swept setting that adds most to the dynamic degree and takes most from the broken share, in their sum.

        Of those that keep to the prompts: subject and motion are as prompted no less often than in vanilla clips, and
        neither the judge nor the outlines find more clips broken, in the mean over the prompts that all of them have.
        None where no setting does, or none was swept.
        """
        every = {f"{axis} {point}": variant for axis in Axis for point, variant in sweep(axis).items()}
        comparison = self.compare(model, every, ("subject", "motion", "broken", "misshapen", "dynamic"), swept=True)
        kept = {
            name: found
            for name, found in (comparison.differences if comparison else {}).items()
            if min(found["subject"].value, found["motion"].value) >= 0
            and max(found["broken"].value, found["misshapen"].value) <= 0
        }
        if not kept:
            return None
        name = max(kept, key=lambda name: kept[name]["dynamic"].value - kept[name]["broken"].value)
        return Choice(every[name], kept[name]["dynamic"], kept[name]["broken"])

    def _frechet(self, numbers: np.ndarray) -> dict[str, Frechet]:
        """Distances to the renders of these prompts; none where none were made."""
        reference = self._load(WORLD, REFERENCE)
        if not reference:
            return {}
        reference = _of(reference, numbers)
        return {name: Frechet(reference[name]) for name in _FEATURES}

    def _load(self, model: str, treatment: Treatment) -> Arrays:
        return store.load_readings(store.Place(self.out, model, treatment.key), self.judge)


_FEATURES = (FRAME_FEATURES, MOTION_FEATURES)


def _value(arrays: Arrays, measure: str, frechet: Mapping[str, Frechet]) -> Estimate:
    if measure in _FEATURES:
        return frechet[measure].estimate(arrays[measure]) if frechet else NOTHING
    return mean(arrays[measure])


def _difference(arrays: Arrays, baseline: Arrays, measure: str, frechet: Mapping[str, Frechet]) -> Estimate:
    if measure in _FEATURES:
        return frechet[measure].difference(arrays[measure], baseline[measure]) if frechet else NOTHING
    return mean(arrays[measure] - baseline[measure])


def _of(arrays: Arrays, numbers: np.ndarray) -> Arrays:
    """The rows of the prompts that have these numbers."""
    which = np.isin(arrays["number"], numbers)
    return {name: values[which] for name, values in arrays.items()}
