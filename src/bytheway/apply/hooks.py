"""The hooks on the modules of one denoiser, which act while it is the turn of their thread.

A hook sits on the forward of a module, through diffusers' own registry, beside those of offloading, casting or caching.
Whatever changes below it (processors, LoRA) leaves it in place. What it is to do is handed to it before each forward of
the denoiser, in the `Turn` that the hooks of a denoiser share; it asks nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Generic, Self, TypeVar, cast

import torch
from diffusers.hooks import HookRegistry, ModelHook
from torch import nn

from bytheway.apply.foreign import ACCELERATE_FORWARD, REGISTRY_ATTRIBUTE
from bytheway.errors import ByTheWayError

HOOK_NAME: Final = "bytheway"

Function = TypeVar("Function", bound=Callable[..., Any])
Forward = TypeVar("Forward")


def eager(function: Function) -> Function:
    """Keep torch.compile out of a function: what it does depends on who calls and when."""
    return cast(Function, torch.compiler.disable(function))


class Turn(threading.local, Generic[Forward]):
    """The forward of the denoiser that the present thread is in, while there is something to do in it.

    Each thread sees its own, so that pipelines which share a denoiser may run at once.
    """

    forward: Forward | None

    def __init__(self) -> None:
        self.forward = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Turn[Forward]:
        copy = memo[id(self)] = type(self)()
        return copy

    def __reduce__(self) -> Any:
        raise ByTheWayError("A denoiser cannot be pickled with bytheway on it; call remove_bytheway first.")


class Hook(ModelHook, Generic[Forward]):  # type: ignore[misc]
    """A hook of ours. While it is nobody's turn, the module does what it always did.

    Attributes:
        turn: what the hooks of one denoiser share.
        path: of the module in its denoiser, where the hook goes by it.
        whole: once it is taken off, whether its module was as the hook had left it, so that it can be put back.
    """

    def __init__(self, turn: Turn[Forward], path: str = "") -> None:
        super().__init__()
        self.turn = turn
        self.path = path

    def attach(self, module: Any) -> Self:
        self.module = module
        self.brought_registry = not hasattr(module, REGISTRY_ATTRIBUTE)
        self.brought_forward = "forward" not in vars(module)
        self.registry = HookRegistry.check_if_exists_or_initialize(module)
        self.registry.register_hook(self, HOOK_NAME)
        self.forward = module.forward
        return self

    def attach_again(self) -> bool:
        """Put everything back that `detach` has left whole, if the module is still what it was."""
        if not self.whole or vars(self.module).keys() & {REGISTRY_ATTRIBUTE, "forward"}:
            return False
        self.module._diffusers_hook, self.module.forward = self.registry, self.forward
        return True

    @property
    def lost(self) -> bool:
        """Whether somebody has put the module's own forward back: accelerate does, taking hooks off that came first."""
        forward = vars(self.module).get("forward")
        return forward is None or getattr(forward, "__func__", None) is type(self.module).forward

    def detach(self) -> None:
        """Leave the module as it was, down to its attributes."""
        attributes, lost = vars(self.module), self.lost
        self.whole = (
            self.brought_registry
            and self.brought_forward
            and len(self.registry.hooks) == 1
            and attributes.get(REGISTRY_ATTRIBUTE) is self.registry
            and attributes.get("forward") is self.forward
        )
        if self.whole:
            del self.module._diffusers_hook, self.module.forward
            return
        registry = self.module._diffusers_hook
        # A later hook with a forward of its own (caching) has ours for the original one. The registry would put what
        # is below ours in the place of the former.
        later = next((h.fn_ref for h in registry.hooks.values() if h.fn_ref.original_forward is self.forward), None)
        later_forward = later.forward if later is not None else None
        # Hooks of accelerate (sequential offloading) that came later are no part of the registry, and go around it.
        around = vars(self.module).get(ACCELERATE_FORWARD) is self.forward
        outer = self.module.forward if lost or around else None
        registry.remove_hook(HOOK_NAME, recurse=False)
        if later is not None:
            later.original_forward, later.forward = later.forward, later_forward
        if around:
            self.module._old_forward = self.module.forward
        if outer is not None:
            self.module.forward = outer
        if self.brought_registry and not registry.hooks:
            del self.module._diffusers_hook
        forward = vars(self.module).get("forward")
        if getattr(forward, "__func__", None) is type(self.module).forward:
            del self.module.forward


class SpareHooks(dict[tuple[type[Hook[Any]], str, nn.Module], Hook[Any]]):
    """Hooks that have been taken off, for the next time.

    The graphs of torch.compile hold for the very hooks with which they were traced: with others they would be made
    anew, until there are so many that the denoiser is not compiled any more. A copy of the denoiser gets none of them.
    """

    def keep(self, hook: Hook[Any]) -> None:
        if hook.whole:
            self[type(hook), hook.path, hook.module] = hook

    def put_back(self, module: nn.Module, like: Hook[Any]) -> Hook[Any] | None:
        """The hook that did on this module what `like` is to do, back in its place."""
        hook = self.pop((type(like), like.path, module), None)
        if hook is None or not hook.attach_again():
            return None
        hook.turn = like.turn
        return hook

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return SpareHooks, ()
