"""The hooks on the modules of one denoiser, which put the enhanced attention in place while they are engaged.

A hook sits on the forward of an attention module, through diffusers' own registry, beside those of offloading, casting
or caching. Whatever changes below it (processors, LoRA) leaves it in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import torch
from diffusers.hooks import HookRegistry, ModelHook
from torch import Tensor, nn

if TYPE_CHECKING:
    from bytheway.apply.forward import Call
    from bytheway.apply.installation import Installation

HOOK_NAME = "bytheway"

Function = TypeVar("Function", bound=Callable[..., Any])


def eager(function: Function) -> Function:
    """Keep torch.compile out of a function: what it does depends on who calls and when."""
    return cast(Function, torch.compiler.disable(function))


class Hook(ModelHook):  # type: ignore[misc]
    """A hook of ours. While it is not engaged, the module does what it always did.

    Attributes:
        path: of the module in its denoiser, where the hook goes by it.
        whole: once it is taken off, whether its module was as the hook had left it, so that it can be put back.
    """

    def __init__(self, installation: Installation, path: str = "") -> None:
        super().__init__()
        self.installation = installation
        self.path = path
        self.engaged = False

    def has_part_in(self, call: Call) -> bool:
        return True

    def attach(self, module: Any) -> Self:
        self.module = module
        self.brought_registry = not hasattr(module, "_diffusers_hook")
        self.brought_forward = "forward" not in vars(module)
        self.registry = HookRegistry.check_if_exists_or_initialize(module)
        self.registry.register_hook(self, HOOK_NAME)
        self.forward = module.forward
        return self

    def attach_again(self) -> bool:
        """Put everything back that `detach` has left whole, if the module is still what it was."""
        if not self.whole or vars(self.module).keys() & {"_diffusers_hook", "forward"}:
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
            and attributes.get("_diffusers_hook") is self.registry
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
        around = vars(self.module).get("_old_forward") is self.forward
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


class SpareHooks(dict[tuple[type[Hook], str, nn.Module], Hook]):
    """Hooks that have been taken off, for the next time.

    The graphs of torch.compile hold for the very hooks with which they were traced: with others they would be made
    anew, until there are so many that the denoiser is not compiled any more. A copy of the denoiser gets none of them.
    """

    def keep(self, hook: Hook) -> None:
        if hook.whole:
            self[type(hook), hook.path, hook.module] = hook

    def put_back(self, module: nn.Module, like: Hook) -> Hook | None:
        """The hook that did on this module what `like` is to do, back in its place."""
        hook = self.pop((type(like), like.path, module), None)
        if hook is None or not hook.attach_again():
            return None
        hook.installation, hook.engaged = like.installation, False
        return hook

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return SpareHooks, ()


class TransformerHook(Hook):
    """Tells the sites of a temporal transformer the size of its feature map."""

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.engaged:
            assert self.installation.call is not None
            note_size = self._note_size if self.installation.call.compiled else self._note_size_untraced
            note_size(next(iter((*args, *kwargs.values()))))
        return args, kwargs

    def _note_size(self, feature_map: Tensor) -> None:
        assert self.installation.call is not None
        height, width = feature_map.shape[-2:]
        self.installation.call.sizes[self.module] = height, width

    @eager
    def _note_size_untraced(self, feature_map: Tensor) -> None:
        self._note_size(feature_map)


class SplitHook(Hook):
    """Runs FreeNoise's split blocks in one piece: a video's beta is known only when all of its pixels are."""

    def new_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
        return (module.module if self.engaged else self.fn_ref.original_forward)(*args, **kwargs)


class SiteHook(Hook):
    """Runs the enhanced attention in place of a site's own.

    Where the denoiser is compiled as a whole it is traced, without a break in the graph. A graph of less than that
    would serve one site alone, and one that held the step of a record no other step.
    """

    def has_part_in(self, call: Call) -> bool:
        return call.settings.takes_part(self.path)

    def new_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not self.engaged:
            return self.fn_ref.original_forward(*args, **kwargs)
        call = self.installation.call
        assert call is not None
        attend = self._attend if call.compiled and call.settings.record is None else self._attend_untraced
        return attend(module, *args, **kwargs)

    def _attend(self, module: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        if not args:
            name = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
            args = (kwargs.pop(name),)
        assert self.installation.call is not None
        return self.installation.call.attend(self.path, module, self.fn_ref.original_forward, *args, **kwargs)

    @eager
    def _attend_untraced(self, module: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        return self._attend(module, *args, **kwargs)
