"""What both kinds of models have in common: a wrapper around each forward, that acts in the active steps."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch

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

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.recorder = recorder

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """The forward of the denoiser, enhanced in the active steps; in the others what it would be without."""
        config = self.config_for(denoiser_of(executor))
        step, steps = step_of(args[OPTIONS])
        if self.recorder is not None:
            self.recorder.begin(args[OPTIONS], step, config, args[0])
        if step >= count_active(config.active_steps, steps):
            return executor(*args, **kwargs)
        with _uncompiled():
            return self.run(executor, config, step, *args, **kwargs)

    @abstractmethod
    def config_for(self, model: Any) -> ByTheWayConfig:
        """By which the method acts on a denoiser."""

    @abstractmethod
    def run(self, executor: Any, config: ByTheWayConfig, step: int, /, *args: Any, **kwargs: Any) -> Any:
        """The forward in an active step."""


def denoiser_of(executor: Any) -> Any:
    """The denoiser of a forward; one that torch.compile has wrapped is unwrapped."""
    model = executor.class_obj.diffusion_model
    return getattr(model, "_orig_mod", model)


def _uncompiled() -> AbstractContextManager[object]:
    """Where something is compiled, it runs uncompiled meanwhile.

    ComfyUI compiles without guards on `transformer_options`: a graph would keep what it met there at first, with the
    method for good, or never.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def install(model: Any, enhancement: Enhancement) -> Any:
    """A clone of a ComfyUI model (`ModelPatcher`) with the method, in place of one that it had before.

    The model itself and its other clones keep what they have.
    """
    from comfy.patcher_extension import WrappersMP

    clone = model.clone()
    clone.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, enhancement)
    return clone
