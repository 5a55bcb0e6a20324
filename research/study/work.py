"""Working through a plan: several processes take units from it, each unit locked while it is in work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

import torch
from diffusers import AnimateDiffPipeline
from filelock import FileLock, Timeout
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from research.diorama.measures import prompts
from research.diorama.world import Scene, render
from research.study import store
from research.study.history import note_run
from research.study.plan import Unit
from research.study.reading import open_readers, read
from research.study.sampling import Arrays, Sampling, decode, open_pipeline, sample, sample_recorded
from research.study.swap import prompt_pairs, sample_swaps
from research.study.variants import Renders, Swap, Variant

RENDER_SEEDS = 1_000_000
"""Seeds between two streams of renders."""

PAUSE = 2.0
"""Seconds between two looks at what others have in work."""


@dataclass(frozen=True)
class Study:
    """Where results go, the judge's folder, the models by name, how clips are sampled, and the command that asks."""

    out: Path
    judge: Path
    models: Mapping[str, str]
    sampling: Sampling
    command: str = "python -m research.study run"

    def scenes(self, unit: Unit) -> list[Scene]:
        """What each clip of a unit was to show; of clips with two prompts, what the first one says."""
        if isinstance(unit.treatment, Swap):
            pairs = prompt_pairs(unit.stop, self.sampling.seed)[unit.first :]
            return [scene for (scene, _), _ in pairs for _ in range(self.sampling.steps + 1)]
        copies = unit.treatment.copies if isinstance(unit.treatment, Renders) else 1
        chosen = prompts(unit.stop, self.sampling.seed)[unit.first :]
        return [scene for scene, _ in chosen for _ in range(copies)]


def run(study: Study, units: list[Unit], processes: int, minutes: float) -> int:
    """Do what is left of the units until the time is up; the number of those that are still left."""
    open_readers(study.judge)  # before there is anything to be sorry for
    store.claim(study.out, study.models, study.sampling)
    note_run(study.out, study.command, processes)
    (study.out / "locks").mkdir(exist_ok=True)
    deadline = time.time() + 60 * minutes
    if torch.cuda.is_available() or processes == 1:
        _work(0, study, units, deadline)
    else:
        spawn(_work, (study, units, deadline), nprocs=processes, daemon=True)  # none outlives the command
    worker = Worker(study, torch.device("cpu"))
    return sum(not worker.is_done(unit) for unit in units)


def _work(rank: int, study: Study, units: list[Unit], deadline: float) -> None:
    """One process: a single thread, since two such processes are faster than two threads on maps of this size."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    worker = Worker(study, device)
    parent = parent_process()
    while left := [unit for unit in units if not worker.is_done(unit)]:
        for unit in left:
            if time.time() > deadline or (parent is not None and not parent.is_alive()):
                return
            worker.do(unit)
        if not all(worker.is_done(unit) for unit in left):
            # The rest is in work elsewhere, and to be taken over should that process die.
            time.sleep(PAUSE)


class Worker:
    """Does units, with the judge and the models at hand."""

    def __init__(self, study: Study, device: torch.device) -> None:
        self.study, self.device = study, device
        self.readers = open_readers(study.judge)
        self._pipes: dict[str, AnimateDiffPipeline] = {}

    def is_done(self, unit: Unit) -> bool:
        return self._place(unit).readings(unit.first, unit.stop, self.readers.name).exists()

    def do(self, unit: Unit) -> None:
        """Sample and read what is not there, unless another process is at it."""
        if self.is_done(unit):
            return
        try:
            with FileLock(self._place(unit).lock(unit.first, unit.stop), timeout=0):
                if not self.is_done(unit):
                    start = time.monotonic()
                    self._read(unit, self._clips(unit))
                    print(f"{unit}: {time.monotonic() - start:.1f} s", flush=True)
        except Timeout:
            return

    def _clips(self, unit: Unit) -> Tensor:
        if isinstance(unit.treatment, Renders):
            seed = RENDER_SEEDS * unit.treatment.stream + self.study.sampling.seed + unit.first
            return 2 * render(self.study.scenes(unit), torch.Generator().manual_seed(seed)).frames - 1
        path = self._place(unit).samples(unit.first, unit.stop)
        if not path.exists():
            latents, record = self._sampled(unit)
            store.save_arrays(path, {"latents": latents.half().cpu().numpy()} | record)
        kept = torch.from_numpy(store.load_arrays(path, ("latents",))["latents"])
        return decode(self._pipeline(unit.model), kept)

    def _sampled(self, unit: Unit) -> tuple[Tensor, Arrays]:
        pipe, sampling, treatment = self._pipeline(unit.model), self.study.sampling, unit.treatment
        if isinstance(treatment, Swap):
            pairs = prompt_pairs(unit.stop, sampling.seed)[unit.first :]
            return sample_swaps(pipe, pairs, unit.first, sampling).flatten(0, 1), {}
        assert isinstance(treatment, Variant)
        texts = [text for _, text in prompts(unit.stop, sampling.seed)[unit.first :]]
        if unit.recorded:
            return sample_recorded(pipe, treatment, texts, unit.first, sampling)
        return sample(pipe, treatment, texts, unit.first, sampling), {}

    def _read(self, unit: Unit, clips: Tensor) -> None:
        readings = read(self.readers, clips, self.study.scenes(unit))
        shaped = {name: a.reshape(unit.stop - unit.first, -1, *a.shape[1:]) for name, a in readings.items()}
        store.save_arrays(self._place(unit).readings(unit.first, unit.stop, self.readers.name), shaped)

    def _place(self, unit: Unit) -> store.Place:
        return store.Place(self.study.out, unit.model, unit.treatment.key)

    def _pipeline(self, model: str) -> AnimateDiffPipeline:
        if model not in self._pipes:
            self._pipes[model] = open_pipeline(self.study.models[model], self.device)
        return self._pipes[model]
