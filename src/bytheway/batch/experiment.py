"""The clips of an experiment as tasks for workers: the same clips under the same names as `bytheway evaluate` makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from bytheway.batch.plan import ENDING, Batch, Facts, Plan, Sweep, Task
from bytheway.batch.rows import Row
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.experiment.make import is_there
from bytheway.generation.request import Request

# Settings of a clip in which it may not differ from its task; the others are guarded by what the folder says of all.
_DECIDING: Final = ("prompt", "negative_prompt", "seed", "free_init", "config", "dtype")


def batches_of(experiment: Experiment, request: Request, facts: Facts) -> Iterator[Batch]:
    """Every batch of an experiment, arm by arm for each prompt, whatever is there.

    Args:
        experiment: where the clips go.
        request: what all arms have in common.
        facts: of the model.
    """
    names = {
        (arm.folder, prompt, request.seed + k): f"{arm.folder}/{name}{ENDING}"
        for arm in experiment.arms
        for (prompt, k), name in zip(experiment.places(), experiment.names(), strict=True)
    }
    given = {
        "seed": request.seed,
        "negative_prompt": request.negative_prompt,
        "num_frames": request.num_frames,
        "width": request.width,
        "height": request.height,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    rows = [Row(prompt, prompt) for prompt in experiment.prompts]
    sweep = Sweep(experiment.arms, experiment.seeds, settings)
    for batch in Plan(lambda: rows, sweep, facts, batch_size=request.batch_size).batches():
        yield Batch(tuple(replace(task, file=names[task.arm, task.prompt, task.seed]) for task in batch.tasks))


def left_of(experiment: Experiment, batches: Iterator[Batch], model: Mapping[str, Any]) -> Iterator[Batch]:
    """Those of which a clip is to be made.

    Args:
        model: what clips say of their model.

    Raises:
        ByTheWayError: a file is there that is none of these clips.
    """
    for batch in batches:
        left = tuple(not is_there(experiment.folder / task.name, {**model, **_deciding(task)}) for task in batch.tasks)
        if any(left):
            yield Batch(batch.tasks, left)


def _deciding(task: Task) -> dict[str, Any]:
    return {name: getattr(task, name) for name in _DECIDING}


class SetAside:
    """Hears of the clips of an experiment (a `bytheway.batch.driver.Writer`); they are found by their names."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def made(self, row: dict[str, Any]) -> None:
        """A clip is there, which the experiment will see."""

    def failed(self, task: Task, attempts: int, said: str) -> None:
        """A clip cannot be made."""
        self.said.append(f"{task.name}, after {attempts} attempts: {said}")
