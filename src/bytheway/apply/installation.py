"""Everything that bytheway has put on one denoiser: its hooks follow the calls and enhance those of the active steps.

Where blocks are rebuilt or wrapped (FreeNoise), the next call of the denoiser hooks the new ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from diffusers.pipelines.free_noise_utils import SplitInferenceModule
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.utils.hooks import RemovableHandle

from bytheway.apply.caller import find_caller, parts_of_batch
from bytheway.apply.forward import Call, Settings
from bytheway.apply.hooks import Hook, SiteHook, SpareHooks, SplitHook, TransformerHook, eager
from bytheway.errors import ByTheWayError

ATTRIBUTE = "_bytheway"
SPARE_HOOKS = "_bytheway_spare_hooks"


class Installation:
    """Everything that bytheway has put on one denoiser, and the settings of those who use it.

    Several pipelines may share the denoiser: a call is made under the settings of the pipeline that makes it, else
    under those of the bare denoiser. A loop of one's own, which no pipeline runs, is under the latter too, or where
    there are none under those that a pipeline was given last.
    The denoiser may be in one call at a time: threads that share it have to take turns.

    Attributes:
        call: the one in progress, while there is something to do in it.
    """

    def __init__(self, denoiser: nn.Module) -> None:
        self.denoiser = denoiser
        self.call: Call | None = None
        self._own: Settings | None = None
        self._by_pipeline: WeakKeyDictionary[Any, Settings] = WeakKeyDictionary()
        self._handles: list[RemovableHandle] = []
        self._hooks: list[Hook] = []
        self._hooked: dict[str, nn.Module] = {}
        self._spare: SpareHooks = vars(denoiser).pop(SPARE_HOOKS, SpareHooks())
        self._compiled_around = False
        self._is_copy = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Installation:
        """What a copied denoiser has instead: hooks that would run modules of the original, to be taken off."""
        copy = object.__new__(Installation)
        memo[id(self)] = copy
        Installation.__init__(copy, deepcopy(self.denoiser, memo))
        copy._hooks, copy._handles = deepcopy((self._hooks, self._handles), memo)
        copy._is_copy = True
        return copy

    def __reduce__(self) -> Any:
        raise ByTheWayError("A denoiser cannot be pickled with bytheway on it; call remove_bytheway first.")

    @classmethod
    def on(cls, denoiser: nn.Module) -> Installation | None:
        """The installation on a denoiser, if there is one; a copy of a denoiser comes without."""
        installation: Installation | None = vars(denoiser).get(ATTRIBUTE)
        if installation is not None and installation._is_copy:
            installation._uninstall()
            return None
        return installation

    def settings_of(self, model: Any) -> Settings | None:
        """The settings given for a pipeline, or for the bare denoiser."""
        return self._own if isinstance(model, nn.Module) else self._by_pipeline.get(model)

    def put(self, model: Any, settings: Settings) -> None:
        """Give a pipeline, or the bare denoiser, its settings in place of any earlier ones.

        Raises:
            ByTheWayError: they do not fit the denoiser; nothing has changed.
        """
        self._fit(settings)
        self._set_call(None)
        self._compiled_around |= isinstance(model, OptimizedModule)
        if isinstance(model, nn.Module):
            self._own = settings
        else:
            self._by_pipeline.pop(model, None)
            self._by_pipeline[model] = settings
        if not self._handles:
            self._handles = [
                self.denoiser.register_forward_pre_hook(self._open, with_kwargs=True),
                self.denoiser.register_forward_hook(self._close, always_call=True),
            ]
            setattr(self.denoiser, ATTRIBUTE, self)
        if not self._modules_of(settings) <= {hook.module for hook in self._hooks}:
            self._detach()
            self._attach()

    def drop(self, model: Any) -> None:
        """Take away the settings of a pipeline, or everybody's from a bare denoiser; with the last, the hooks go."""
        self._set_call(None)
        if isinstance(model, nn.Module):
            self._own = None
            self._by_pipeline.clear()
        else:
            self._by_pipeline.pop(model, None)
        if self._own is None and not self._by_pipeline:
            self._uninstall()
            if self._spare and self._is_compiled_in_part(model):
                setattr(self.denoiser, SPARE_HOOKS, self._spare)

    def _uninstall(self) -> None:
        self._detach()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        delattr(self.denoiser, ATTRIBUTE)

    @eager
    def _open(self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each call of the denoiser: is there something to do in it?"""
        if Installation.on(denoiser) is None:
            return
        self._set_call(None)
        self._set_call(self._begin_call(*_sample_and_timestep(arguments_of_call(denoiser, args, kwargs))))

    @eager
    def _close(self, *_: Any) -> None:
        """After each call, also one that failed; what an interrupt leaves open, the next call closes."""
        self._set_call(None)

    def _set_call(self, call: Call | None) -> None:
        self.call = call
        for hook in self._hooks:
            hook.engaged = call is not None and hook.has_part_in(call)

    def _fit(self, settings: Settings) -> None:
        """Find what the settings mean for this denoiser."""
        settings.find_sites(self.denoiser)

    def _begin_call(self, sample: Tensor, timestep: Tensor | float) -> Call | None:
        caller = find_caller()
        settings = self._active_settings(caller.pipeline, timestep)
        if settings is None:
            return None
        parts, conditional = parts_of_batch(caller, len(sample), settings.classifier_free_guidance)
        height, width = sample.shape[-2:]
        compiled = self._is_compiled(caller.pipeline)
        return Call(settings, timestep, parts, conditional, len(sample), {self.denoiser: (height, width)}, compiled)

    def _is_compiled(self, pipeline: Any | None) -> bool:
        """Whether torch.compile has the denoiser as a whole: in place, around what was given, or as a component."""
        around = () if pipeline is None else pipeline.components.values()
        return (
            self._compiled_around
            or self.denoiser._compiled_call_impl is not None
            or any(isinstance(part, OptimizedModule) and part._orig_mod is self.denoiser for part in around)
        )

    def _is_compiled_in_part(self, model: Any) -> bool:
        """Whether torch.compile has anything of the denoiser, or of the pipeline that uses it."""
        parts = [model] if isinstance(model, nn.Module) else vars(model).values()
        return any(
            isinstance(part, OptimizedModule) or getattr(part, "_compiled_call_impl", None) is not None
            for part in (*parts, *self.denoiser.modules())
        )

    def _active_settings(self, pipeline: Any | None, timestep: Tensor | float) -> Settings | None:
        """The settings of a call by this pipeline, or by none; None where there is nothing to do in it."""
        if pipeline is not None:
            settings = self._by_pipeline.get(pipeline, self._own)
            scheduler = None if settings is None else getattr(pipeline, "scheduler", settings.scheduler)
        else:
            settings, scheduler = self._settings_of_loop()
        if settings is None:
            return None
        if scheduler is None:
            raise ByTheWayError(
                "Nothing tells the step of this call of the denoiser: no pipeline with a scheduler makes it; give the "
                "scheduler in use as scheduler= when applying bytheway."
            )
        self._follow_rebuilt_blocks()
        announced = getattr(pipeline, "current_timestep", None)
        settings.window.locate(timestep, scheduler, getattr(pipeline, "num_timesteps", None), announced)
        return settings if settings.active else None

    def _settings_of_loop(self) -> tuple[Settings | None, Any]:
        """Settings and scheduler where no pipeline is running."""
        if self._own is not None:
            return self._own, self._own.scheduler
        pipeline, settings = next(reversed(list(self._by_pipeline.items())), (None, None))
        if settings is None or pipeline is None:
            return None, None
        return settings, settings.scheduler or pipeline.scheduler

    def _follow_rebuilt_blocks(self) -> None:
        """Hook anew if the denoiser is going to run other modules than those that carry the hooks."""
        if not in_place(self.denoiser, self._hooked) or any(hook.lost for hook in self._hooks):
            for settings in self._everyone():
                self._fit(settings)
            self._detach()
            self._attach()

    def _everyone(self) -> list[Settings]:
        return [*self._by_pipeline.values(), *([] if self._own is None else [self._own])]

    def _modules_of(self, settings: Settings) -> set[nn.Module]:
        """Those that have to carry hooks; of the denoiser itself the size is known without one."""
        sites = settings.sites.values()
        return {site.module for site in sites} | self._transformers_of(settings).keys()

    def _transformers_of(self, settings: Settings) -> dict[nn.Module, None]:
        transformers = (site.transformer for site in settings.sites.values())
        return {module: None for module in transformers if module is not None and module is not self.denoiser}

    def _attach(self) -> None:
        """Hook every temporal self-attention; which of them take part is up to the settings of each call."""
        everyone = self._everyone()
        self._hooked = {site.path: site.module for settings in everyone for site in settings.sites.values()}
        attentions = set(self._hooked.values())
        for transformer in {module: None for settings in everyone for module in self._transformers_of(settings)}:
            self._hook(transformer, TransformerHook(self))
            for module in transformer.modules():
                if isinstance(module, SplitInferenceModule) and attentions.intersection(module.modules()):
                    self._hook(module, SplitHook(self))
        for path, module in self._hooked.items():
            self._hook(module, SiteHook(self, path))
        self._spare.clear()

    def _hook(self, module: nn.Module, hook: Hook) -> None:
        """Hook a module, with the hook that it had before where there is one."""
        self._hooks.append(self._spare.put_back(module, hook) or hook.attach(module))

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


def arguments_of_call(denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What the denoiser is called with, by the names in its forward, in their order there.

    What its forward takes as *args goes by its place ("args[0]"), what it takes as **kwargs by its own name.
    """
    signature = _signature(type(denoiser).forward)
    named: dict[str, Any] = {}
    for name, given in signature.bind(denoiser, *args, **kwargs).arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}[{place}]": one for place, one in enumerate(given)}
        else:
            named |= given if kind is inspect.Parameter.VAR_KEYWORD else {name: given}
    _, *arguments = named.items()
    return dict(arguments)


@lru_cache(maxsize=16)
def _signature(forward: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(forward)


def _sample_and_timestep(arguments: dict[str, Any]) -> tuple[Tensor, Tensor | float]:
    """The first argument, batch outermost, and the one that is named timestep, or else the second."""
    sample, second, *_ = arguments.values()
    return sample, arguments.get("timestep", second)
