"""One training loop for every stage: seeded, resumable at any moment, data-parallel over processes.

Randomness is drawn from a generator seeded by (stage, step, rank), so a resumed run sees the batches that an
uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bytheway.files import written

CHECKPOINT_SECONDS = 120
LOG_STEPS = 20
BatchSource = Callable[[int, torch.Generator], "tuple[Tensor | int, ...]"]
"""Arguments of an objective for a step, all randomness drawn from the generator."""


class OutOfTime(Exception):
    """The time allowed for this call is over; the checkpoint holds everything needed to go on."""


@dataclass(frozen=True)
class Stage:
    """What to train for how long: ``steps`` optimiser steps, the learning rate constant and then decayed."""

    name: str
    steps: int
    ema_decay: float = 0.998
    warmup: int = 100
    decay_share: float = 0.3
    final_rate: float = 0.05
    seed: int = 0

    @property
    def decay_from(self) -> float:
        """The step at which the learning rate begins to fall."""
        return self.steps * (1 - self.decay_share)

    def rate(self, step: int) -> float:
        """Learning-rate factor of a step: warm-up, constant, linear decay (so that training can be extended)."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if step < self.decay_from:
            return 1.0
        return 1 - (1 - self.final_rate) * (step - self.decay_from) / (self.steps - self.decay_from)


def step_generator(stage: Stage, step: int, device: torch.device) -> torch.Generator:
    """The source of all randomness of one step on this process."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    seed = zlib.crc32(f"{stage.name}/{stage.seed}/{step}/{rank}".encode())
    return torch.Generator(device).manual_seed(seed)


class Training:
    """The state of one stage: weights, optimiser, learning rate, moving average, step, all in one checkpoint."""

    def __init__(self, stage: Stage, objective: nn.Module, groups: Iterable[dict[str, object]], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "checkpoint.pt"
        self.stage, self.objective = stage, objective
        self.device = next(objective.parameters()).device
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, stage.rate)
        weights = objective.parameters()
        self.ema = EMAModel(weights, decay=stage.ema_decay, min_decay=0.0, use_ema_warmup=True, power=0.75)
        self.ema.to(self.device)
        self.done = 0
        self.is_main = not dist.is_initialized() or dist.get_rank() == 0
        if self.path.exists():
            self._load()
        # Only now, since the replicas start from the weights of the first process.
        distributed = dist.is_initialized()
        self._replica = DistributedDataParallel(objective, broadcast_buffers=False) if distributed else objective

    def step(self, arguments: tuple[Tensor | int, ...]) -> Tensor:
        """One optimiser step; returns the loss."""
        loss: Tensor = self._replica(*arguments)
        loss.backward()
        nn.utils.clip_grad_norm_(self.objective.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.ema.step(self.objective.parameters())
        self.done += 1
        return loss.detach()

    def save(self) -> None:
        """Write the checkpoint, wholly or not at all; the main process does it for all."""
        if not self.is_main:
            return
        state = {
            "model": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
            "step": self.done,
        }
        with written(self.path) as draft:
            torch.save(state, draft)

    def _load(self) -> None:
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        self.objective.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.ema.load_state_dict(state["ema"])
        self.done = state["step"]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The objective with its EMA weights in place."""
        self.ema.store(self.objective.parameters())
        self.ema.copy_to(self.objective.parameters())
        try:
            yield
        finally:
            self.ema.restore(self.objective.parameters())


class LossLog:
    """The running mean of the loss, in ``loss.jsonl`` and beside the progress bar."""

    def __init__(self, stage: Stage, folder: Path, progress: Progress, done: int) -> None:
        self.path = folder / "loss.jsonl"
        self.last = stage.steps
        self.progress = progress
        self.task = progress.add_task(stage.name, total=stage.steps, completed=done, loss="")
        self.mean: Tensor | None = None

    def add(self, step: int, loss: Tensor) -> None:
        self.mean = loss if self.mean is None else torch.lerp(self.mean, loss, 0.05)
        if step % LOG_STEPS == 0 or step == self.last:
            row = {"step": step, "loss": round(float(self.mean), 5), "time": round(time.time())}
            with self.path.open("a") as file:
                print(json.dumps(row), file=file)
            self.progress.update(self.task, completed=step, loss=f"loss {row['loss']:.4f}")


def fit(
    stage: Stage,
    objective: nn.Module,
    groups: Iterable[dict[str, object]],
    batch: BatchSource,
    folder: Path,
    deadline: float = math.inf,
    on_checkpoint: Callable[[int], None] | None = None,
) -> None:
    """Train ``objective`` (a module whose forward returns the loss) and leave it with its EMA weights.

    Args:
        groups: optimiser parameter groups, each with its own ``lr``.
        batch: arguments of the objective for (step, generator).
        folder: where ``checkpoint.pt`` and ``loss.jsonl`` lie; training resumes from what is found there.
        deadline: ``time.monotonic()`` value after which the state is saved and `OutOfTime` raised.
        on_checkpoint: called with the step after each checkpoint, the EMA weights in place.
    """
    training = Training(stage, objective, groups, folder)
    text = TextColumn(f"{stage.name} {{task.fields[loss]}}")
    with Progress(text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not training.is_main) as bar:
        log = LossLog(stage, folder, bar, training.done) if training.is_main else None
        saved = time.monotonic()
        while training.done < stage.steps:
            step = training.done
            loss = training.step(batch(step, step_generator(stage, step, training.device)))
            if log:
                log.add(training.done, loss)
            if out_of_time(deadline, step):
                training.save()
                raise OutOfTime
            if time.monotonic() - saved > CHECKPOINT_SECONDS or training.done == stage.steps:
                training.save()
                if on_checkpoint and training.is_main:
                    with training.averaged():
                        on_checkpoint(training.done)
                saved = time.monotonic()
    training.ema.copy_to(objective.parameters())


def out_of_time(deadline: float, step: int) -> bool:
    """Whether to stop: asked now and then, the processes agreeing, since all must leave at the same step."""
    if step % LOG_STEPS:
        return False
    over = torch.tensor(float(time.monotonic() > deadline))
    if dist.is_initialized():
        dist.all_reduce(over, op=dist.ReduceOp.MAX)
    return bool(over)
