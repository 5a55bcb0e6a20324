"""Which denoising step a call of the denoiser belongs to, and whether the method acts in it."""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor

from bytheway.errors import ByTheWayError


def count_active(fraction: float, steps: int) -> int:
    """The first ceil(fraction * steps) steps are active; 0.07 of 100 are 7, whatever the floats say."""
    return math.ceil(round(fraction * steps, 9))


class StepTracker:
    """Follows the denoising runs of one pipeline, from nothing but the timesteps its denoiser is called with.

    A run is one pass over `scheduler.timesteps`, from wherever it starts (video-to-video skips the first ones); setting
    the timesteps anew starts the next one, as a pipeline does at each call and FreeInit at each of its iterations.

    Attributes:
        fraction: the share of the steps that is active.
        run: number of the run, from 0; -1 before the first.
        step: number of the step in the run, from 0. Schedulers of order 2 call the denoiser twice a step.
        steps: how many steps the run has.
    """

    def __init__(self, fraction: float, runs: Iterator[int] | None = None) -> None:
        """
        Args:
            fraction: the share of the steps that is active.
            runs: numbers for the runs, where several trackers share them; None: 0, 1, 2 and so on.
        """
        self.fraction = fraction
        self._runs = count() if runs is None else runs
        self.run = -1
        self.step = 0
        self.steps = 0
        # A strong reference: the identity of a run, which a freed tensor could pass on to another.
        self._timesteps: Tensor | None = None
        self._start = 0

    @property
    def active_steps(self) -> int:
        """How many steps of the run are active."""
        return count_active(self.fraction, self.steps)

    def is_active(self, step: int) -> bool:
        return step < self.active_steps

    @property
    def active(self) -> bool:
        """Whether the method acts in the present step."""
        return self.is_active(self.step)

    def locate(
        self,
        timestep: Tensor | float,
        scheduler: Any,
        num_timesteps: int | None = None,
        announced: Tensor | float | None = None,
    ) -> None:
        """Take note that the denoiser is called with `timestep`.

        Args:
            num_timesteps: how many entries of `scheduler.timesteps` the run covers; None: all from its first one.
            announced: the timestep that the pipeline says it is at. Some pipelines round `timestep`, or give each
                token one of its own; what they announce is exact, where it is an entry of `scheduler.timesteps`.

        Raises:
            ByTheWayError: the timestep is none of the scheduler's.
        """
        timesteps: Tensor = scheduler.timesteps
        index = _entry_of(announced, timesteps)
        if index is None:
            index = timestep_index(timestep, timesteps, scheduler)
        # A run that goes through them again and again (the tiles of a long video) counts the steps of all its rounds.
        num_timesteps = min(num_timesteps, len(timesteps)) if num_timesteps else None
        if timesteps is not self._timesteps:
            self.run = next(self._runs)
            # The last of several denoisers is first called in the middle of a run.
            self._timesteps, self._start = timesteps, len(timesteps) - num_timesteps if num_timesteps else index
        self._start = min(self._start, index)
        count = len(timesteps) - self._start if num_timesteps is None else num_timesteps
        self.step = (index - self._start) // scheduler.order
        self.steps = math.ceil(count / scheduler.order)


def timestep_index(timestep: Tensor | float, timesteps: Tensor, scheduler: Any) -> int:
    """The position of a timestep in the scheduler's list.

    Pipelines hand on an element of the list itself, a view, which tells the position without asking the device for a
    value. Anything else, a number or a copy, is looked up by value, in the precision that it has. Of a timestep for
    each token the greatest counts: those of a conditioning image are nearer to zero.
    """
    index = _entry_of(timestep, timesteps)
    if index is not None:
        return index
    value = float(timestep.max()) if isinstance(timestep, Tensor) else float(timestep)
    listed = timesteps.to(timestep.dtype) if isinstance(timestep, Tensor) else timesteps
    positions = torch.isclose(listed.double().cpu(), torch.tensor(value, dtype=torch.float64, device="cpu")).nonzero()
    candidates: list[int] = positions.flatten().tolist()
    if not candidates:
        raise ByTheWayError(
            f"The denoiser is called with timestep {value:g}, which is none of its scheduler's; "
            "apply bytheway to the pipeline that runs it, or give the scheduler in use as scheduler=."
        )
    # Schedulers of order 2 list a timestep twice, and rounded ones may coincide; the scheduler knows which comes next.
    current = getattr(scheduler, "step_index", None)
    return int(current) if current in candidates else candidates[0]


def _entry_of(timestep: Tensor | float | None, timesteps: Tensor) -> int | None:
    """The position of an element of the list itself, by its offset in their common storage; None for anything else."""
    if (
        isinstance(timestep, Tensor)
        and timestep.dtype == timesteps.dtype
        and timestep.untyped_storage().data_ptr() == timesteps.untyped_storage().data_ptr()
    ):
        return (timestep.storage_offset() - timesteps.storage_offset()) // timesteps.stride(0)
    return None
