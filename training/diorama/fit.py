"""One training loop for every stage: seeded, resumable at any moment, data-parallel over processes.

Randomness is drawn from a generator seeded by (stage, step, rank), so a resumed run sees the batches that an
uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

CHECKPOINT_SECONDS = 120
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

    def rate(self, step: int) -> float:
        """Learning-rate factor of a step: warm-up, constant, linear decay (so that training can be extended)."""
        decay_from = self.steps * (1 - self.decay_share)
        if step < self.warmup:
            return (step + 1) / self.warmup
        if step < decay_from:
            return 1.0
        return 1 - (1 - self.final_rate) * (step - decay_from) / (self.steps - decay_from)


def step_generator(stage: Stage, step: int, device: torch.device) -> torch.Generator:
    """The source of all randomness of one step on this process."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    seed = zlib.crc32(f"{stage.name}/{stage.seed}/{step}/{rank}".encode())
    return torch.Generator(device).manual_seed(seed)


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
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    device = next(objective.parameters()).device
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, stage.rate)
    ema = EMAModel(objective.parameters(), decay=stage.ema_decay, min_decay=0.0, use_ema_warmup=True, power=0.75)
    ema.to(device)
    start = 0
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        objective.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        ema.load_state_dict(state["ema"])
        start = state["step"]
    distributed = dist.is_initialized()
    main = not distributed or dist.get_rank() == 0
    replica = DistributedDataParallel(objective, broadcast_buffers=False) if distributed else objective

    def save(step: int) -> None:
        if not main:
            return
        state = {
            "model": objective.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "ema": ema.state_dict(),
            "step": step,
        }
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)
        if on_checkpoint:
            ema.store(objective.parameters())
            ema.copy_to(objective.parameters())
            on_checkpoint(step)
            ema.restore(objective.parameters())

    columns = (
        TextColumn(f"{stage.name} {{task.fields[loss]}}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not main) as progress, (folder / "loss.jsonl").open("a") as log:
        task = progress.add_task(stage.name, total=stage.steps, completed=start, loss="")
        saved, running = time.monotonic(), None
        for step in range(start, stage.steps):
            loss = replica(*batch(step, step_generator(stage, step, device)))
            loss.backward()
            nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            ema.step(objective.parameters())
            running = loss.detach() if running is None else torch.lerp(running, loss.detach(), 0.05)
            if main and (step + 1) % 20 == 0:
                row = {"step": step + 1, "loss": round(float(running), 5), "time": round(time.time())}
                log.write(json.dumps(row) + "\n")
                log.flush()
                progress.update(task, completed=step + 1, loss=f"loss {float(running):.4f}")
            if out_of_time(deadline, step):
                save(step + 1)
                raise OutOfTime
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save(step + 1)
                saved = time.monotonic()
        if start < stage.steps:
            save(stage.steps)
    ema.copy_to(objective.parameters())


def out_of_time(deadline: float, step: int) -> bool:
    """Whether to stop: asked every 20 steps, the processes agreeing, since all must leave at the same step."""
    if step % 20:
        return False
    over = torch.tensor(float(time.monotonic() > deadline))
    if dist.is_initialized() and dist.get_backend() == "gloo":
        dist.all_reduce(over, op=dist.ReduceOp.MAX)
    return bool(over)
