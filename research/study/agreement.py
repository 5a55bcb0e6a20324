"""Whether measures that know nothing of the world agree with what is known of it: Spearman's correlation over clips.

The measures are those that `bytheway score` has for anybody's clips. What they are held against is read by the judge
and the outlines, which know the world.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bytheway.evaluation.choice import MeasureChoice
from bytheway.evaluation.statistics import Estimate, mean, spearman
from research.diorama.architecture import FRAMES_PER_SECOND
from research.study import store
from research.study.results import Results
from research.study.sampling import Arrays, decode, open_pipeline, pixels
from research.study.variants import VANILLA, Variant, preset_of

TRUTHS = ("confidence", "misshapen", "motion_range", "jerk")
"""What is known: structure by the judge and by the outlines; how far the subject moves, and how unsteadily."""
Correlations = dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class Agreement:
    """Of one model, by measure and by truth.

    Attributes:
        n: vanilla clips.
        values: the mean of each measure over them.
        clips: correlation over vanilla clips: does the measure tell which clip is better?
        changes: correlation of what the preset changes, paired by prompt and seed: does it tell which way is better?
    """

    n: int
    values: dict[str, Estimate]
    clips: Correlations
    changes: Correlations


class Measuring:
    """The usual measures whose networks are on this machine, and what they found of the clips, kept beside these.

    Attributes:
        measures: these.
        left_out: why the others are not.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.measures, self.left_out = MeasureChoice().load()
        # Which network a measure has is in its name.
        self.names = [name for measure in self.measures for name in measure.names]
        self._kept_as = f"measures-{hashlib.sha256(repr(self.names).encode()).hexdigest()[:8]}"

    def of(self, model: str, source: str, variant: Variant, count: int) -> Arrays:
        """The measures of a treatment's clips, (n,) each, by `number`; the first `count` are measured if they are not.

        Args:
            model: its name.
            source: where it is loaded from.
            variant: the treatment.
            count: of prompts.
        """
        place = store.Place(self.results.out, model, variant.key)
        left = [
            numbers
            for numbers in store.sampled(place)
            if numbers[0] < count and not place.readings(*numbers, self._kept_as).exists()
        ]
        if left:
            pipe = open_pipeline(source, torch.device("cpu"))
        for numbers in left:
            latents = store.load_arrays(place.samples(*numbers), ("latents",))["latents"]
            clips = pixels(decode(pipe, torch.from_numpy(latents)))
            store.save_arrays(place.readings(*numbers, self._kept_as), self._measured(clips))
        return {name: values.reshape(-1) for name, values in store.load_readings(place, self._kept_as).items()}

    def _measured(self, clips: np.ndarray) -> Arrays:
        """Of clips (n, F, H, W, 3): (n, 1) each."""
        found = [[one for measure in self.measures for one in measure(clip, FRAMES_PER_SECOND)] for clip in clips]
        return {one.name: np.array([[float(row[k].value)] for row in found]) for k, one in enumerate(found[0])}


def agreement(measuring: Measuring, model: str, source: str, count: int) -> Agreement | None:
    """Of the first `count` prompts; None where they have no vanilla clips.

    Args:
        measuring: the measures, with the results that they are held against.
        model: its name.
        source: where it is loaded from.
        count: of prompts.
    """
    vanilla, enhanced = (_both(measuring, model, source, variant, count) for variant in (VANILLA, preset_of(model)))
    if not vanilla:
        return None
    names = measuring.names
    _, here, there = np.intersect1d(vanilla["number"], enhanced.get("number", []), return_indices=True)
    changes = {name: enhanced[name][there] - vanilla[name][here] for name in (*names, *TRUTHS)} if len(here) else {}
    return Agreement(
        len(vanilla["number"]),
        {name: mean(vanilla[name]) for name in names},
        _correlations(names, vanilla),
        _correlations(names, changes) if changes else {},
    )


def _both(measuring: Measuring, model: str, source: str, variant: Variant, count: int) -> Arrays:
    """Measures and truths of the same clips, (n,) each; nothing where there are none."""
    found, truth = measuring.of(model, source, variant, count), measuring.results.clips(model, variant)
    if not found or not truth:
        return {}
    number, here, there = np.intersect1d(found["number"], truth["number"], return_indices=True)
    kept = number < count
    chosen = {name: values[here[kept]] for name, values in found.items()}
    return chosen | {name: truth[name][there[kept]] for name in TRUTHS} | {"number": number[kept]}


def _correlations(names: Sequence[str], arrays: Mapping[str, np.ndarray]) -> Correlations:
    return {name: {truth: spearman(arrays[name], arrays[truth]) for truth in TRUTHS} for name in names}
