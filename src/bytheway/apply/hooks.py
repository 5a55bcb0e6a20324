"""The hooks on the modules of one denoiser, which act while it is the turn of their thread.

A hook goes around the module's own forward, below whatever else is around that: offloading, casting, caches and skips
of diffusers and accelerate. They all have it for the module's own, so that it does not matter which of them comes or
goes first, and a module that is not called (an attention whose output is cached) is not enhanced anew. What changes
below it (processors, LoRA) leaves it in place. What it is to do is handed to it before each forward of the denoiser, in
the `Turn` that the hooks of a denoiser share; it asks nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, Self, TypeVar, cast

import torch
from torch import nn

from bytheway.apply.foreign import called_by, forwards_kept, objects_within
from bytheway.errors import ByTheWayError

Function = TypeVar("Function", bound=Callable[..., Any])
Forward = TypeVar("Forward")


def eager(function: Function) -> Function:
    """Keep torch.compile out of a function: what it does depends on who calls and when."""
    return cast(Function, torch.compiler.disable(function))


class Turn(threading.local, Generic[Forward]):
    """The forward of the denoiser that the present thread is in, while there is something to do in it.

    Each thread sees its own, so that pipelines which share a denoiser may run at once.

    Attributes:
        forward: what there is to do; None: nothing.
        run: the denoising run that the last forward with something to do was of.
        begins: whether the forward is the first of its run.
    """

    forward: Forward | None

    def __init__(self) -> None:
        self.forward = None
        self.run: Any = None
        self.begins = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Turn[Forward]:
        copy = memo[id(self)] = type(self)()
        return copy

    def __reduce__(self) -> Any:
        raise ByTheWayError("A denoiser cannot be pickled with bytheway on it; call remove_bytheway first.")


class Place(NamedTuple):
    """Where a forward is kept: in an attribute of the module, of somebody's wrapper or of a hook of ours."""

    holder: Any
    name: str

    def get(self) -> Any:
        return getattr(self.holder, self.name, None)


class Hook(Generic[Forward]):
    """A hook of ours. While it is nobody's turn, the module does what it always did.

    Attributes:
        turn: what the hooks of one denoiser share.
        path: of the module in its denoiser, where the hook goes by it.
        module: the one that it is on.
        below: the forward that it goes around.
    """

    def __init__(self, turn: Turn[Forward], path: str = "") -> None:
        self.turn = turn
        self.path = path
        self.forward = self.run

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """What runs in place of the module's own forward."""
        return self.below(*args, **kwargs)

    def attach(self, module: Any) -> Self:
        """Go around what the module itself does."""
        self.module = module
        *outer, place = _places(module)
        self.below = place.get()
        # A hook of ours that was taken off and came back with somebody's copy of the forward is not needed any more.
        while isinstance(place.holder, Hook) and outer[-1].get() == place.holder.forward:
            place = outer.pop()
        if place.holder is not self:
            setattr(*place, self.forward)
        self._seen = vars(module).get("forward")
        return self

    @property
    def in_place(self) -> bool:
        """Whether a call of the module comes to this hook: others may have put back a forward from before it.

        It is asked in every step; the way is gone only where the module has another forward than it had.
        """
        forward = vars(self.module).get("forward")
        if forward is not self._seen and any(place.holder is self for place in _places(self.module)):
            self._seen = forward
        return forward is self._seen

    def detach(self) -> None:
        """Leave the module as it was, down to its attributes; a copy of its forward that somebody has does nothing."""
        self.turn = type(self.turn)()
        kept = (Place(*kept) for kept in forwards_kept(self.module))
        for place in [*_places(self.module), *kept]:
            if place.get() == self.forward:
                setattr(*place, self.below)
        if _is_own(vars(self.module).get("forward"), self.module):
            del self.module.forward


def own_forward(module: nn.Module) -> Any:
    """What the module itself does, below everything that is around it."""
    *_, innermost = _places(module)
    return innermost.get()


def is_replaced(module: nn.Module) -> bool:
    """Whether somebody has put a forward in the place of the one of the module's class."""
    return not _is_own(own_forward(module), module)


def _places(module: nn.Module) -> Iterator[Place]:
    """Where a call of a module finds its forward and what that goes around, outermost first, as far as can be seen."""
    place: Place | None = Place(module, "forward")
    while place is not None:
        yield place
        forward = place.get()
        below = called_by(forward, module)
        hook = next((one for one in objects_within(forward) if isinstance(one, Hook) and one.module is module), None)
        place = Place(hook, "below") if hook is not None else None if below is None else Place(*below)


def _is_own(forward: Any, module: nn.Module) -> bool:
    """Whether it is the forward of the module's class."""
    return getattr(forward, "__func__", None) is type(module).forward


class SpareHooks(dict[tuple[type[Hook[Any]], str, nn.Module], Hook[Any]]):
    """Hooks that have been taken off, for the next time.

    The graphs of torch.compile hold for the very hooks with which they were traced: with others they would be made
    anew, until there are so many that the denoiser is not compiled any more. A copy of the denoiser gets none of them.
    """

    def keep(self, hook: Hook[Any]) -> None:
        self[type(hook), hook.path, hook.module] = hook

    def put_back(self, module: nn.Module, like: Hook[Any]) -> Hook[Any] | None:
        """The hook that did on this module what `like` is to do, back in its place."""
        hook = self.pop((type(like), like.path, module), None)
        if hook is None or hook.below != own_forward(module):
            return None
        hook.turn = like.turn
        return hook.attach(module)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return SpareHooks, ()
