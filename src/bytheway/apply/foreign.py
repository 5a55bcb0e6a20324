"""Every private part of other packages that we lean on, in one place; each has a test that fails where it changes.

Seen in torch 2.13, diffusers 0.42, accelerate 1.15 and transformers 5.23 (`tests/apply/test_foreign.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import FrameType, FunctionType, MethodType
from typing import Any, Final

from diffusers.hooks import ModelHook
from diffusers.hooks.hooks import HookFunctionReference
from diffusers.hooks.layer_skip import AttentionProcessorSkipHook
from diffusers.models.attention_processor import PAGCFGIdentitySelfAttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0
from diffusers.pipelines.free_noise_utils import SplitInferenceModule
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule

from bytheway.families.pipeline import Model, VideoPipeline

# accelerate's hooks keep the forward that they go around here, in the attributes of the module.
ACCELERATE_FORWARD: Final = "_old_forward"

# In the last part of the batch these put the identity in the place of the map (PAG), which leaves nothing to enhance.
PERTURBING_PROCESSORS: Final = (PAGCFGIdentitySelfAttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0)

__all__ = [
    "PERTURBING_PROCESSORS",
    "OptimizedModule",
    "SplitInferenceModule",
    "called_by",
    "forwards_kept",
    "has_known_processor",
    "is_compiled",
    "is_compiled_in_part",
    "is_running_compiled",
    "keeps_state_of_run",
    "may_skip",
    "objects_within",
    "skips_scores",
]


def called_by(forward: Any, module: nn.Module) -> tuple[Any, str] | None:
    """Where a forward that diffusers or accelerate has put on a module keeps the one that it goes around.

    Returns:
        the holder and the name of its attribute; None where it is a forward of somebody else.
    """
    if not isinstance(forward, partial):
        return None
    for reference in _contents(forward.func):
        if isinstance(reference, HookFunctionReference):
            # A hook with a forward of its own goes around the original one.
            hook = getattr(getattr(reference.forward, "func", None), "__self__", None)
            return reference, "original_forward" if isinstance(hook, ModelHook) else "forward"
    if forward.func.__module__ == "accelerate.hooks" and ACCELERATE_FORWARD in vars(module):
        return module, ACCELERATE_FORWARD
    return None


def forwards_kept(module: nn.Module) -> Iterator[tuple[Any, str]]:
    """Where hooks of diffusers and accelerate keep forwards of a module, whether or not a call still comes by them."""
    if ACCELERATE_FORWARD in vars(module):
        yield module, ACCELERATE_FORWARD
    for hook in getattr(vars(module).get("_diffusers_hook"), "hooks", {}).values():
        yield hook.fn_ref, "forward"
        yield hook.fn_ref, "original_forward"


def has_known_processor(module: nn.Module) -> bool:
    """Whether an attention computes softmax(Q K^T) V as diffusers does, with a processor of it or with none."""
    processor = getattr(module, "processor", None)
    if processor is None:
        return True
    return str(getattr(type(processor).__call__, "__module__", None)).startswith("diffusers.")


def skips_scores(module: nn.Module) -> bool:
    """Whether diffusers' layer skip puts the identity in the place of an attention's map at present."""
    hooks = getattr(vars(module).get("_diffusers_hook"), "hooks", {})
    return any(isinstance(hook, AttentionProcessorSkipHook) and hook.skip_attention_scores for hook in hooks.values())


def may_skip(denoiser: nn.Module, path: str) -> bool:
    """Whether a cache or a layer skip of diffusers is on a module of the denoiser, or around it."""
    module = denoiser
    for name in path.split("."):
        module = getattr(module, name)
        hooks = getattr(vars(module).get("_diffusers_hook"), "hooks", {})
        if any(
            hasattr(hook, "new_forward") and type(hook).__module__.startswith("diffusers.") for hook in hooks.values()
        ):
            return True
    return False


def keeps_state_of_run(denoiser: nn.Module) -> bool:
    """Whether a hook of diffusers, such as a cache, keeps in the denoiser what the steps of one run hand to the next.

    They say of themselves that they are stateful, and forget it at the end of a run.
    """
    registries = (vars(module).get("_diffusers_hook") for module in denoiser.modules())
    return any(hook._is_stateful for registry in registries for hook in getattr(registry, "hooks", {}).values())


def objects_within(forward: Any) -> Iterator[Any]:
    """What a function holds, in its closure and the arguments bound to it, and so on inwards.

    What diffusers' and accelerate's wrappers hold is told by `called_by`.
    """
    waiting, seen = [forward], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, partial):
            waiting += [one.func, *one.args, *one.keywords.values()]
        elif isinstance(one, MethodType):
            waiting += [one.__func__, one.__self__]
        elif isinstance(one, FunctionType):
            waiting += [*_contents(one), *(one.__defaults__ or ())]


def _contents(function: Any) -> list[Any]:
    """Of the closure of a function, as far as it is filled in."""
    filled = []
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):
            filled.append(cell.cell_contents)
    return filled


def is_compiled(denoiser: nn.Module, pipeline: VideoPipeline | None) -> bool:
    """Whether torch.compile has the denoiser as a whole: in place, or around it as a component of the pipeline."""
    around = () if pipeline is None else pipeline.components.values()
    return denoiser._compiled_call_impl is not None or any(
        isinstance(component, OptimizedModule) and component._orig_mod is denoiser for component in around
    )


def is_compiled_in_part(denoiser: nn.Module, model: Model) -> bool:
    """Whether torch.compile has anything of the denoiser, or of the pipeline that uses it."""
    outer = [model] if isinstance(model, nn.Module) else vars(model).values()
    return any(
        isinstance(one, OptimizedModule) or getattr(one, "_compiled_call_impl", None) is not None
        for one in (*outer, *denoiser.modules())
    )


def is_running_compiled(denoiser: nn.Module, pipeline: VideoPipeline | None) -> bool:
    """Whether the call in progress may run a graph of torch.compile, in the whole or in part."""
    if is_compiled_in_part(denoiser, denoiser if pipeline is None else pipeline):
        return True
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not (
        frame.f_code.co_name == "compile_wrapper" and frame.f_globals.get("__name__") == "torch._dynamo.eval_frame"
    ):
        frame = frame.f_back
    return frame is not None
