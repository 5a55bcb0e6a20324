"""The clips: several seeds of every prompt, recorded, read by diorama's judge, and kept a file for each prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diffusers import AnimateDiffPipeline

from bytheway.diagnosis.curves import Curve, Curves
from research.diorama.measures import prompts
from research.study.reading import FRAME_FEATURES, MOTION_FEATURES, Readers, read
from research.study.sampling import RECORDED, Arrays, Sampling, decode, sample_recorded
from research.study.store import load_arrays, save_arrays
from research.study.variants import Variant

_LEFT_OUT = (FRAME_FEATURES, MOTION_FEATURES)  # large, and not asked for here


@dataclass(frozen=True)
class Seeds:
    """Where the clips of one variant of a model are, and how they are made.

    Attributes:
        folder: of the files.
        variant: vanilla, which is recorded in all steps, or the method, in the active ones.
        seeds: of each prompt.
        sampling: seed of the prompts and of the first clip, steps, guidance.
    """

    folder: Path
    variant: Variant
    seeds: int
    sampling: Sampling

    def path(self, number: int, readers: str) -> Path:
        """The file of a prompt, as these readers read it."""
        return self.folder / f"{number:05d}.{readers}.npz"

    def make(self, pipe: Callable[[], AnimateDiffPipeline], readers: Readers, count: int) -> Iterator[int]:
        """Make what is not there yet of the first prompts; hands out each number that it has made."""
        chosen = prompts(count, self.sampling.seed)
        for number, (scene, text) in enumerate(chosen):
            path = self.path(number, readers.name)
            if path.exists():
                continue
            first = number * self.seeds
            latents, record = sample_recorded(pipe(), self.variant, [text] * self.seeds, first, self.sampling)
            readings = read(readers, decode(pipe(), latents), [scene] * self.seeds)
            kept = {name: values for name, values in readings.items() if name not in _LEFT_OUT}
            save_arrays(path, record | kept)
            yield number

    def load(self, count: int, readers: str) -> list[Arrays]:
        """The first prompts' files, (seeds, ...) each, as far as they are there without a gap."""
        found = []
        for number in range(count):
            if not self.path(number, readers).exists():
                break
            found.append(load_arrays(self.path(number, readers)))
        return found


def curves_of(arrays: Arrays, video: int) -> Curves:
    """The curves of one clip, in the recorded steps."""

    def by_block(name: str) -> dict[str, Curve]:
        values = arrays[name][video].astype(float)
        means = {
            block: values[:, arrays["sites"] == block].mean(1) for block in dict.fromkeys(arrays["sites"].tolist())
        }
        return {block: curve for block, curve in means.items() if not np.isnan(curve).any()}

    energy, disparity, beta = (by_block(name) for name in RECORDED if name != "energy_after")
    steps = tuple(range(arrays["energy"].shape[1]))
    return Curves(tuple(energy), steps, tuple(map(float, steps)), energy, disparity, beta)
