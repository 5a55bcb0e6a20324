"""The hooks on a denoiser with temporal attention: in the active steps its sites run the enhanced attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from bytheway.apply.applied import Applied
from bytheway.apply.arguments import sample_of, timestep_of
from bytheway.apply.caller import Caller, parts_of_batch
from bytheway.apply.foreign import SplitInferenceModule, has_known_processor
from bytheway.apply.forward import Forward
from bytheway.apply.hooks import Hook, eager, is_replaced
from bytheway.apply.installation import Installation
from bytheway.apply.steps import StepTracker
from bytheway.families.family import Inputs
from bytheway.families.sites import Site, find_sites

Sites = dict[str, Site]  # by their paths


class TemporalInstallation(Installation[Sites, Forward]):
    """Everything that bytheway has put on one denoiser with temporal attention."""

    def fit(self, applied: Applied) -> Sites:
        for one in applied.also:
            self._fitted[one] = self.fit(one)
        return {site.path: site for site in find_sites(self.denoiser, applied.config, applied.attentions)}

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__(denoiser)
        # Of each attention the processor with which it was hooked; and those that attend in a way of their own.
        self._processors: dict[nn.Module, Any] = {}
        self._unknown: dict[str, str] = {}

    def _modules(self, fitted: Sites) -> Mapping[str, nn.Module]:
        """The sites; of those that attend in a way of their own also what makes their values."""
        sites = {path: site.module for path, site in fitted.items()}
        return sites | {f"{path}.to_v": _to_v(sites[path]) for path in self._unknown if path in sites}

    def _hook_missing(self, everyone: Iterable[Applied]) -> None:
        everyone = list(everyone)
        sites = {path: site.module for applied in everyone for path, site in self._fitted[applied].items()}
        self._processors = {module: getattr(module, "processor", None) for module in sites.values()}
        self._unknown = {path: way for path, module in sites.items() if (way := _own_way(module)) is not None}
        super()._hook_missing(everyone)

    def _in_place(self) -> bool:
        """Whoever sets another processor leaves the attention where it is."""
        return super()._in_place() and all(
            getattr(module, "processor", None) is processor for module, processor in self._processors.items()
        )

    def _hooks_for(self, everyone: Iterable[Sites]) -> Iterable[tuple[nn.Module, Hook[Forward]]]:
        """On every temporal self-attention; which of them take part is up to each forward."""
        sites = [site for fitted in everyone for site in fitted.values()]
        attentions = {site.module for site in sites}
        # Of the denoiser itself the size is known without a hook.
        transformers = {site.transformer: None for site in sites if site.transformer not in (None, self.denoiser)}
        for transformer in transformers:
            assert transformer is not None
            yield transformer, TransformerHook(self.turn)
            for module in transformer.modules():
                if isinstance(module, SplitInferenceModule) and attentions.intersection(module.modules()):
                    yield module, SplitHook(self.turn)
        for path, module in {site.path: site.module for site in sites}.items():
            yield module, SiteHook(self.turn, path)
            if path in self._unknown:
                yield _to_v(module), SiteValueHook(self.turn, path)

    def _forward(
        self, applied: Applied, fitted: Sites, caller: Caller, steps: StepTracker, inputs: Inputs
    ) -> Forward | None:
        sample, timestep = sample_of(inputs), timestep_of(inputs)
        parts, conditional = parts_of_batch(caller, len(sample), applied.classifier_free_guidance)
        patch = next((site.downscale for site in fitted.values() if site.transformer is self.denoiser), 1)
        height, width = (side // patch for side in sample.shape[-2:])

        def forward(applied: Applied, sites: Sites, also: tuple[Forward, ...] = ()) -> Forward:
            return Forward(
                applied,
                sites,
                steps.run,
                steps.step,
                timestep,
                parts,
                conditional,
                len(sample),
                self._unknown,
                {self.denoiser: (height, width)},
                self._is_compiled(caller),
                also,
            )

        also = tuple(forward(one, _that_take_part(self._fitted[one])) for one in applied.also)
        return forward(applied, _that_take_part(fitted) if applied.enhance else fitted, also)

    def _left_out(self, forward: Forward) -> list[str]:
        return forward.left_out()


class TransformerHook(Hook[Forward]):
    """Tells the sites of a temporal transformer the size of its feature map."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        forward = self.turn.forward
        if forward is not None:
            note_size = self._note_size if forward.compiled else self._note_size_untraced
            note_size(forward, next(iter((*args, *kwargs.values()))))
        return self.below(*args, **kwargs)

    def _note_size(self, forward: Forward, feature_map: Tensor) -> None:
        height, width = feature_map.shape[-2:]
        forward.sizes[self.module] = height, width

    @eager
    def _note_size_untraced(self, forward: Forward, feature_map: Tensor) -> None:
        self._note_size(forward, feature_map)


class SplitHook(Hook[Forward]):
    """Runs FreeNoise's split blocks in one piece: a video's beta is known only when all of its pixels are."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return (self.below if self.turn.forward is None else self.module.module)(*args, **kwargs)


class SiteHook(Hook[Forward]):
    """Runs the enhanced attention in place of a site's own.

    Where the denoiser is compiled as a whole it is traced, without a break in the graph. A graph of less than that
    would be of use to one site alone, and one that held the step of a record no other step.
    """

    def run(self, *args: Any, **kwargs: Any) -> Any:
        forward = self.turn.forward
        if forward is None or self.path not in forward.sites:
            return self.below(*args, **kwargs)
        attend = self._attend if forward.compiled and forward.applied.record is None else self._attend_untraced
        return attend(forward, *args, **kwargs)

    def _attend(self, forward: Forward, *args: Any, **kwargs: Any) -> Tensor:
        if not args:
            name = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
            args = (kwargs.pop(name),)
        return forward.attend(self.path, self.module, self.below, *args, **kwargs)

    @eager
    def _attend_untraced(self, forward: Forward, *args: Any, **kwargs: Any) -> Tensor:
        return self._attend(forward, *args, **kwargs)


class SiteValueHook(Hook[Forward]):
    """Filters the frames of the values of a site that attends in a way of its own."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        output, forward = self.below(*args, **kwargs), self.turn.forward
        return output if forward is None else forward.filter_values(self.path, output)


def _that_take_part(sites: Sites) -> Sites:
    """The anchor's, and those of the blocks after it."""
    return {path: site for path, site in sites.items() if site.role != "observed"}


def _own_way(module: nn.Module) -> str | None:
    """In which way of its own an attention attends, in words; None where it does as diffusers and its class do."""
    if is_replaced(module):
        return "a forward of somebody's own"
    if not has_known_processor(module):
        return f"a processor of somebody's own ({type(getattr(module, 'processor', None)).__name__})"
    return None


def _to_v(module: nn.Module) -> nn.Module:
    to_v: nn.Module = module.to_v  # type: ignore[assignment]
    return to_v
