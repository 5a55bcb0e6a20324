"""What a scheduler of diffusers is given and gives back at each of its steps, seen without knowing the pipeline."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bytheway.errors import ByTheWayError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SchedulerStep:
    """One call of a scheduler's `step`, when it is over.

    Attributes:
        scheduler: the scheduler.
        arguments: what it was called with, by name: `model_output`, `sample` and so on.
        result: what it gave back, an output of diffusers or a tuple.
    """

    scheduler: Any
    arguments: Mapping[str, Any]
    result: Any

    def predicted(self) -> Tensor:
        """The clip as the model predicts it at this step, x0, in latents of the shape of the `sample`.

        Most schedulers hand it out or keep it. Those of flow matching step along x_t = (1 - sigma) x0 + sigma noise
        with the velocity noise - x0, so that x0 = x_t - sigma velocity.

        Raises:
            ByTheWayError: the scheduler neither says it nor is one of flow matching.
        """
        found = self._handed_out()
        if found is None:
            found = self._kept()
        if found is None:
            found = self._of_flow()
        if found is None:
            raise ByTheWayError(
                f"{type(self.scheduler).__name__} does not tell what the clip is going to be; give the pipeline "
                "another scheduler, such as DDIM, DPM-Solver++ or flow matching by Euler."
            )
        return found

    def _handed_out(self) -> Tensor | None:
        if isinstance(self.result, tuple):
            return self.result[1] if len(self.result) > 1 else None
        names = ("pred_original_sample", "denoised")
        return next((value for name in names if (value := getattr(self.result, name, None)) is not None), None)

    def _kept(self) -> Tensor | None:
        """Multistep solvers keep what the model said in the form that they extrapolate, which is x0 in most."""
        config, kept = self.scheduler.config, getattr(self.scheduler, "model_outputs", None)
        predicts = config.get("predict_x0", False) or "++" in config.get("algorithm_type", "")
        return kept[-1] if predicts and kept else None

    def _of_flow(self) -> Tensor | None:
        if not type(self.scheduler).__name__.startswith("FlowMatch"):
            return None
        sample, velocity = self.arguments["sample"], self.arguments["model_output"]
        tokens = self.arguments.get("per_token_timesteps")
        if tokens is not None:
            sigma = tokens.unsqueeze(-1) / self.scheduler.config.num_train_timesteps
        else:
            sigma = self.scheduler.sigmas[self.scheduler.step_index - 1]
        predicted: Tensor = sample - sigma.to(sample) * velocity
        return predicted


@contextmanager
def watched(scheduler: Any, on_step: Callable[[SchedulerStep], None]) -> Iterator[None]:
    """Tell of every step that this very scheduler takes while the block runs; what `on_step` raises ends the run.

    It is of a subclass of the same name meanwhile, with the same signature of `step`, by which pipelines decide what to
    hand it. A copy that a pipeline makes of it (LTX-2's, for sound) steps as ever, and is not told of.
    """
    own = type(scheduler)
    signature = inspect.signature(own.step)

    @functools.wraps(own.step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = own.step(self, *args, **kwargs)
        if self is scheduler:
            on_step(SchedulerStep(self, signature.bind(self, *args, **kwargs).arguments, result))
        return result

    scheduler.__class__ = type(own.__name__, (own,), {"step": step, "__module__": own.__module__})
    try:
        yield
    finally:
        scheduler.__class__ = own
