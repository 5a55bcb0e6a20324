"""What both kinds of models have in common: a wrapper around each forward, that acts in the active steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from bytheway.apply.steps import count_active
from bytheway.comfyui.recorder import Recorder
from bytheway.comfyui.steps import step_of
from bytheway.config import ByTheWayConfig

KEY: Final = "bytheway"  # of the wrapper; a model has one at most
# Where text and transformer_options are among the arguments of every forward.
CONTEXT: Final = 3
OPTIONS: Final = 5


class Enhancement(ABC):
    """The method for one model, as ComfyUI calls it in place of each forward (an APPLY_MODEL wrapper).

    Args:
        recorder: hears of every forward, whether its step is active or not.
    """

    def __init__(self, config: ByTheWayConfig, recorder: Recorder | None = None) -> None:
        self.config = config
        self.recorder = recorder

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """The forward of the denoiser, enhanced in the active steps; in the others what it would be without."""
        step, steps = step_of(args[OPTIONS])
        if self.recorder is not None:
            self.recorder.begin(args[OPTIONS], step, self.config, args[0])
        if step >= count_active(self.config.active_steps, steps):
            return executor(*args, **kwargs)
        return self.run(executor, step, *args, **kwargs)

    @abstractmethod
    def run(self, executor: Any, step: int, /, *args: Any, **kwargs: Any) -> Any:
        """The forward in an active step."""


def install(model: Any, enhancement: Enhancement) -> Any:
    """A clone of a ComfyUI model (`ModelPatcher`) with the method, in place of one that it had before.

    The model itself and its other clones keep what they have.
    """
    from comfy.patcher_extension import WrappersMP

    clone = model.clone()
    clone.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, enhancement)
    return clone
