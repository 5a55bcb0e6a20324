"""A model that is a formula: two objectives, whose best compromises are known, for searches without clips.

With a = alpha and b = log10 beta the gains of a config are

    structure = 1 - (a - 0.3)² - (b - 0.2)²,    motion = 1 - (a - 0.7)² - (b - 0.2)²

and the front is b = 0.2, 0.3 <= a <= 0.7. Prompts differ by an offset that config and vanilla clip share, and each clip
has a little noise of its own. `python -m tests.tuning.hill FOLDER CLIPS` searches as a process of its own would, every
clip taking a moment; it is written down once, in a file of its own, with the process that made it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from bytheway.config import ByTheWayConfig
from bytheway.files import write_text
from bytheway.tuning.search import Search, lock
from bytheway.tuning.space import Space

BEST_BETA = 10**0.2
SPACE = Space(ByTheWayConfig(), ("up_blocks.1", "up_blocks.2"), 16)
OBJECTIVES = ("structure", "motion")


def true_gains(config: ByTheWayConfig) -> np.ndarray:
    """The gains of a config without noise, (2,)."""
    apart = (np.log10(config.beta) - 0.2) ** 2
    return np.array([1 - (config.alpha - 0.3) ** 2 - apart, 1 - (config.alpha - 0.7) ** 2 - apart])


def values(config: ByTheWayConfig | None, prompt: int, noise: float = 0.02) -> np.ndarray:
    """The objectives of a clip, (2,)."""
    offset = np.random.default_rng(prompt).normal(size=2)
    if config is None:
        return offset
    own = np.random.default_rng((prompt, round(1000 * config.alpha), round(1000 * config.beta))).normal(size=2)
    return offset + true_gains(config) + noise * own


class Clips:
    """Evaluates once, keeps it in a folder, and counts."""

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        self.folder, self.seconds = folder / "values", seconds

    def __call__(self, config: ByTheWayConfig | None, prompt: int) -> Sequence[float]:
        key = sha256(json.dumps([config and config.to_dict(), prompt]).encode()).hexdigest()[:16]
        path = self.folder / f"{key}.json"
        with lock(self.folder.parent, f"{key}"):
            if not path.exists():
                time.sleep(self.seconds)
                made = {
                    "by": os.getpid(),
                    "config": config and config.to_dict(),
                    "values": values(config, prompt).tolist(),
                }
                write_text(path, json.dumps(made))
                with (self.folder.parent / "made.txt").open("a") as file:
                    file.write(f"{key} {os.getpid()}\n")
        found: list[float] = json.loads(path.read_text())["values"]
        return found

    def spent(self) -> int:
        return len(list(self.folder.glob("*.json")))


def search_in(folder: Path, prompts: int = 6, seconds: float = 0.0) -> tuple[Search, Clips]:
    clips = Clips(folder, seconds)
    return Search(folder, SPACE, OBJECTIVES, prompts, clips, (ByTheWayConfig(),)), clips


if __name__ == "__main__":
    search, made = search_in(Path(sys.argv[1]), seconds=0.02)
    search.run(lambda: made.spent() >= int(sys.argv[2]))
