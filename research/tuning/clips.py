"""The clips of a search, and those that it is judged by: read by diorama's judge, and kept a file each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from diffusers import AnimateDiffPipeline

from bytheway.config import ByTheWayConfig
from research.diorama.world import Scene
from research.study.reading import FRAME_FEATURES, MOTION_FEATURES, Readers, read
from research.study.sampling import Arrays, Sampling, decode, sample
from research.study.store import load_arrays, save_arrays
from research.study.variants import Variant

OBJECTIVES: Final = ("confidence", "flow", "subject")
"""Structure, motion and the prompt: how sure the judge is of the subject, optical flow, and whether the subject is that
of the prompt."""
_LEFT_OUT = (FRAME_FEATURES, MOTION_FEATURES)  # large, and not asked for here


@dataclass(frozen=True)
class JudgedClips:
    """Makes and reads one clip of each prompt and config; see `bytheway.tuning.search.Evaluate`.

    Attributes:
        folder: of the files.
        pipe: the model, opened when it is needed.
        readers: who reads clips.
        prompts: scenes with their captions.
        sampling: of the clips.
    """

    folder: Path
    pipe: Callable[[], AnimateDiffPipeline]
    readers: Readers
    prompts: Sequence[tuple[Scene, str]]
    sampling: Sampling

    def __call__(self, config: ByTheWayConfig | None, prompt: int) -> tuple[float, ...]:
        """The objectives of a clip."""
        arrays = self.arrays(config, prompt)
        return tuple(float(arrays[name][0]) for name in OBJECTIVES)

    def arrays(self, config: ByTheWayConfig | None, prompt: int) -> Arrays:
        """Everything that was read of a clip, (1, ...)."""
        variant = Variant(config)
        path = self.folder / variant.key / f"{prompt:05d}.{self.readers.name}.npz"
        if not path.exists():
            scene, text = self.prompts[prompt]
            readings = read(
                self.readers, decode(self.pipe(), sample(self.pipe(), variant, [text], prompt, self.sampling)), [scene]
            )
            save_arrays(path, {name: values for name, values in readings.items() if name not in _LEFT_OUT})
        return load_arrays(path)

    def all_of(self, config: ByTheWayConfig | None, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Some measures of the clips of all prompts, (prompts,) each."""
        clips = [self.arrays(config, prompt) for prompt in range(len(self.prompts))]
        return {name: np.array([float(one[name][0]) for one in clips]) for name in names}

    def spent(self) -> int:
        """How many clips there are."""
        return sum(1 for _ in self.folder.glob("*/*.npz"))
