"""Everything that bytheway has put on one denoiser: its hooks follow the forwards and enhance those of active steps.

Where blocks are rebuilt or wrapped (FreeNoise), the next forward of the denoiser hooks the new ones.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from copy import deepcopy
from threading import RLock
from typing import Any, ClassVar, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn
from torch.utils.hooks import RemovableHandle

from bytheway.apply.applied import Applied, Mark
from bytheway.apply.arguments import arguments_of_call, timestep_of
from bytheway.apply.caller import Caller, find_caller
from bytheway.apply.foreign import (
    OptimizedModule,
    is_compiled,
    is_compiled_in_part,
    is_running_compiled,
    may_skip,
)
from bytheway.apply.hooks import Hook, SpareHooks, Turn, eager
from bytheway.apply.steps import StepTracker
from bytheway.errors import ByTheWayError, ByTheWayWarning
from bytheway.families.family import Inputs
from bytheway.families.known import denoisers_of
from bytheway.families.pipeline import Model

ATTRIBUTE: Final = "_bytheway"
SPARE_HOOKS: Final = "_bytheway_spare_hooks"

Fitted = TypeVar("Fitted")
Forward = TypeVar("Forward")


class Installation(ABC, Generic[Fitted, Forward]):
    """Everything that bytheway has put on one denoiser, and what those who use it were given.

    Several pipelines may share the denoiser, also at once, each in a thread of its own: a forward is made under what
    the pipeline that makes it was given, else under what the bare denoiser was. A loop of one's own, which no pipeline
    runs, is under the latter too, or where there is none under what a pipeline was given last.

    What somebody was given is fitted to each denoiser by itself: `Fitted` is that for one kind of attention, and
    `Forward` what its hooks are handed.
    """

    # Pipelines may be put on and taken off in threads; that is rare, so that all denoisers share a lock.
    _changing: ClassVar = RLock()

    def __init__(self, denoiser: nn.Module) -> None:
        self.denoiser = denoiser
        self.turn: Turn[Forward] = Turn()
        self._own: Applied | None = None
        self._by_mark: WeakKeyDictionary[Mark, Applied] = WeakKeyDictionary()
        self._fitted: WeakKeyDictionary[Applied, Fitted] = WeakKeyDictionary()
        self._handles: list[RemovableHandle] = []
        self._hooks: list[Hook[Forward]] = []
        self._hooked: dict[str, nn.Module] = {}
        self._spare: SpareHooks = vars(denoiser).pop(SPARE_HOOKS, SpareHooks())
        self._compiled_around = False
        self._is_copy = False

    # ------------------------------------------------------------------------------ for each kind of attention

    @abstractmethod
    def fit(self, applied: Applied) -> Fitted:
        """What was given, read against this denoiser; nothing is changed.

        Raises:
            ByTheWayError: it does not fit.
        """

    @abstractmethod
    def _modules(self, fitted: Fitted) -> Mapping[str, nn.Module]:
        """The modules that have to stay at their paths for the hooks to be in place."""

    @abstractmethod
    def _hooks_for(self, everyone: Iterable[Fitted]) -> Iterable[tuple[nn.Module, Hook[Forward]]]:
        """A hook for each module that one of them needs hooked."""

    @abstractmethod
    def _forward(
        self, applied: Applied, fitted: Fitted, caller: Caller, steps: StepTracker, inputs: Inputs
    ) -> Forward | None:
        """What the hooks do in a forward of an active step; None: nothing."""

    @abstractmethod
    def _left_out(self, forward: Forward) -> list[str]:
        """Paths of the attentions in which it was to act, and that were not called."""

    # ---------------------------------------------------------------------------------------- who uses it

    @classmethod
    def on(cls, denoiser: nn.Module) -> Installation[Any, Any] | None:
        """The installation on a denoiser, if there is one."""
        installation: Installation[Any, Any] | None = vars(denoiser).get(ATTRIBUTE)
        if installation is not None and installation._is_copy:
            installation._settle()
            installation = vars(denoiser).get(ATTRIBUTE)
        return installation

    @classmethod
    def all_on(cls, model: Model) -> list[Installation[Any, Any]]:
        """Those on the denoisers of a pipeline, or on the denoiser itself."""
        found = (cls.on(denoiser) for denoiser in denoisers_of(model))
        return [installation for installation in found if installation is not None]

    def applied_to(self, model: Model) -> Applied | None:
        """What a pipeline, or the bare denoiser, was given."""
        if isinstance(model, nn.Module):
            return self._own
        mark = Mark.of(model)
        return None if mark is None else self._by_mark.get(mark)

    def put(self, user: nn.Module | Mark, applied: Applied, fitted: Fitted) -> None:
        """Give those who have a mark, or the bare denoiser, something in place of what they had.

        Args:
            user: the denoiser, with or without a compiler around it, or the mark of a pipeline.
            fitted: what `fit` has made of what is given.
        """
        with self._changing:
            self.turn.forward = None
            self._compiled_around |= isinstance(user, OptimizedModule)
            self._fitted[applied] = fitted
            # First the hooks: what another thread begins meanwhile has all of them, or goes without.
            self._hook_missing([*self._everyone(), applied])
            if not self._handles:
                self._install()
            if isinstance(user, Mark):
                self._give(user, applied)
            else:
                self._own = applied

    def drop(self, model: Model) -> None:
        """Take away what a pipeline, or the bare denoiser, was given; with the last, the hooks go."""
        with self._changing:
            self.turn.forward = None
            if isinstance(model, nn.Module):
                self._own = None
            else:
                Mark.take_off(model)
            if self._own is None and not self._by_mark:
                self._uninstall()
                if self._spare and is_compiled_in_part(self.denoiser, model):
                    setattr(self.denoiser, SPARE_HOOKS, self._spare)

    def drop_all(self, denoiser: nn.Module) -> None:
        """Take away what the bare denoiser and all pipelines that use it were given."""
        with self._changing:
            for mark in list(self._by_mark):
                mark.known_to.discard(self)
                if not mark.known_to:  # another denoiser of the pipeline may have it
                    mark.erase()
            self._by_mark.clear()
            self.drop(denoiser)

    def end(self, applied: Applied) -> None:
        """Take away what a block gave, from its pipeline and from shallow copies that were made in it."""
        with self._changing:
            for mark in [mark for mark, one in self._by_mark.items() if one is applied]:
                mark.known_to.discard(self)
                del self._by_mark[mark]

    def _give(self, mark: Mark, applied: Applied) -> None:
        self._by_mark[mark] = applied
        mark.known_to.add(self)

    def _everyone(self) -> list[Applied]:
        return [*self._by_mark.values(), *([] if self._own is None else [self._own])]

    # ---------------------------------------------------------------------------------------------- copies

    def __deepcopy__(self, memo: dict[int, Any]) -> Installation[Fitted, Forward]:
        """For a copied denoiser: with hooks that would run modules of the original, until it settles."""
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        vars(copy).update(vars(self))
        Installation.__init__(copy, deepcopy(self.denoiser, memo))
        copy._hooks, copy._handles = deepcopy((self._hooks, self._handles), memo)
        copy._own = deepcopy(self._own, memo) if self._own is not None and self._own.enhance else None
        for mark, applied in self._by_mark.items():
            if applied.enhance:
                copy._give(deepcopy(mark, memo), deepcopy(applied, memo))
        copy._is_copy = True
        return copy

    def __reduce__(self) -> Any:
        raise ByTheWayError("A denoiser cannot be pickled with bytheway on it; call remove_bytheway first.")

    def _settle(self) -> None:
        """Hooks of its own for a copied denoiser whose pipelines were copied with it; none for one that came alone."""
        with self._changing:
            self._is_copy = False
            self._uninstall()
            self._spare.clear()
            if everyone := self._everyone():
                for applied in everyone:
                    self._fitted[applied] = self.fit(applied)
                self._hook_missing(everyone)
                self._install()

    # ----------------------------------------------------------------------------------------- each forward

    @eager
    def _open(self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        """Before each forward of the denoiser: is there something to do in it?

        Torch gives no `kwargs` while another thread is putting this hook on or taking it off, and then there is not.
        """
        if kwargs is None or Installation.on(denoiser) is not self:
            return
        self.turn.forward = None
        self.turn.forward = self._begin(arguments_of_call(denoiser, args, kwargs))

    @eager
    def _close(self, denoiser: nn.Module, args: Any, output: Any = None) -> None:
        """After each forward, also one that failed, without output; what an interrupt leaves open, the next closes."""
        forward, self.turn.forward = self.turn.forward, None
        if forward is not None and output is not None and self.turn.begins:
            self._say_what_is_left_out(forward)

    def _say_what_is_left_out(self, forward: Forward) -> None:
        """Warn where the method has done nothing, and nothing that we know of explains it.

        In the first forward of a run caches have nothing yet that they could put in the place of a module.
        """
        left_out = [path for path in self._left_out(forward) if not may_skip(self.denoiser, path)]
        if left_out and not is_running_compiled(self.denoiser, find_caller().pipeline):
            warnings.warn(
                f"{type(self.denoiser).__name__} did not call {_listed(left_out)} in the first step of this run, so "
                "that the method does nothing there: a forward or processor of somebody's own takes its place, or the "
                "call leaves it out.",
                ByTheWayWarning,
                stacklevel=2,
            )

    def _begin(self, inputs: dict[str, Any]) -> Forward | None:
        caller = find_caller()
        applied, scheduler = self._applied_by(caller)
        if applied is None:
            return None
        if scheduler is None:
            raise ByTheWayError(
                "Nothing tells the step of this call of the denoiser: no pipeline with a scheduler makes it; give the "
                "scheduler in use as scheduler= when applying bytheway."
            )
        self._follow_rebuilt_blocks()
        steps, pipeline = applied.steps_of(scheduler), caller.pipeline
        announced = getattr(pipeline, "current_timestep", None)
        steps.locate(timestep_of(inputs), scheduler, caller.num_timesteps(), announced)
        if applied.enhance and not steps.active:
            return None
        run = (steps, steps.run)
        self.turn.begins, self.turn.run = run != self.turn.run, run
        return self._forward(applied, self._fitted[applied], caller, steps, inputs)

    def _applied_by(self, caller: Caller) -> tuple[Applied | None, Any]:
        """What this forward is made under, and the scheduler whose steps it is of."""
        if caller.pipeline is not None:
            applied = self.applied_to(caller.pipeline) or self._own
            return applied, None if applied is None else getattr(caller.pipeline, "scheduler", applied.scheduler)
        if self._own is not None:
            return self._own, self._own.scheduler
        mark, applied = next(reversed(list(self._by_mark.items())), (None, None))
        return applied, None if applied is None or mark is None else applied.scheduler or mark.scheduler

    def _is_compiled(self, caller: Caller) -> bool:
        """Whether torch.compile has the denoiser as a whole."""
        return self._compiled_around or is_compiled(self.denoiser, caller.pipeline)

    # ------------------------------------------------------------------------------------------- the hooks

    def _install(self) -> None:
        self._handles = [
            self.denoiser.register_forward_pre_hook(self._open, with_kwargs=True),
            self.denoiser.register_forward_hook(self._close, always_call=True),
        ]
        setattr(self.denoiser, ATTRIBUTE, self)

    def _uninstall(self) -> None:
        self._detach()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        delattr(self.denoiser, ATTRIBUTE)

    def _follow_rebuilt_blocks(self) -> None:
        """Hook anew if the denoiser is going to run other modules than those that carry the hooks."""
        if self._in_place() and all(hook.in_place for hook in self._hooks):
            return
        with self._changing:
            fitted = {applied: self.fit(applied) for applied in self._everyone()}
            self._fitted.update(fitted)
            self._detach()
            self._hook_missing(fitted)

    def _in_place(self) -> bool:
        """Whether the modules that carry the hooks are those that the denoiser is going to run."""
        return in_place(self.denoiser, self._hooked)

    def _hook_missing(self, everyone: Iterable[Applied]) -> None:
        """Hook what has none yet, each module with the hook that it had before where there is one.

        The others stay as they are: a forward of another thread may be among them.
        """
        fits = [self._fitted[applied] for applied in everyone]
        self._hooked |= {path: module for fitted in fits for path, module in self._modules(fitted).items()}
        there = {(type(hook), hook.path, hook.module) for hook in self._hooks}
        for module, hook in self._hooks_for(fits):
            if (type(hook), hook.path, module) not in there:
                self._hooks.append(self._spare.put_back(module, hook) or hook.attach(module))
        self._spare.clear()

    def _detach(self) -> None:
        for hook in self._hooks:
            hook.detach()
            self._spare.keep(hook)
        self._hooks = []
        self._hooked = {}


def in_place(denoiser: nn.Module, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the modules are still those of the denoiser at these paths.

    It is asked in every step: what is above several of them is looked up once.
    """
    found: dict[str, Any] = {"": denoiser}

    def at(path: str) -> Any:
        if path not in found:
            parent, _, name = path.rpartition(".")
            found[path] = getattr(at(parent), name, None)
        return found[path]

    return all(at(path) is module for path, module in modules.items())


def _listed(paths: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(paths) - 1
    return f"{paths[0]} and {more} more like it" if more else paths[0]
