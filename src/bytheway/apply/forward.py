"""One forward of a denoiser with temporal attention in an active step, and what its sites tell one another."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bytheway.apply.applied import Applied
from bytheway.apply.foreign import PERTURBING_PROCESSORS, skips_scores
from bytheway.attention.joint import filter_frames_
from bytheway.attention.layout import Layout, VideoTokens
from bytheway.attention.measures import Anchor, Measures
from bytheway.attention.projections import enhanced_attention, observe_attention
from bytheway.errors import ByTheWayError, ByTheWayWarning
from bytheway.families.sites import Site
from bytheway.method import frequency_filter
from bytheway.record import Entry


@dataclass(eq=False)
class Forward:
    """One forward of the denoiser in an active step.

    Attributes:
        applied: what it is made under.
        sites: those that take part, by their paths.
        run, step: numbers of the denoising run, and of the step in it.
        timestep: the one the denoiser is called with.
        parts, conditional: of its batch, see `Layout`.
        batch: how many entries it has.
        unknown: the sites that attend in a way of their own, which nobody else knows, and what that is in words.
        sizes: height and width of the feature maps that the denoiser and its temporal transformers are called with.
        compiled: torch.compile has the denoiser as a whole.
        also: the same forward under other anchors, where it is only recorded.
    """

    applied: Applied
    sites: Mapping[str, Site]
    run: int
    step: int
    timestep: Tensor | float
    parts: int
    conditional: int
    batch: int
    unknown: Mapping[str, str]
    sizes: dict[nn.Module, tuple[int, int]]
    compiled: bool
    also: tuple[Forward, ...] = ()
    # The maps of the anchor block, by site index and window.
    _anchors: dict[tuple[tuple[int, int], int], Anchor] = field(default_factory=dict)
    # The site that is called at present where it attends in a way of its own, and how often it has asked for values.
    _through: str | None = None
    _values: int = 0
    # How often each site was called: more than once where FreeNoise moves a window over the frames.
    _windows: Counter[str] = field(default_factory=Counter)

    def attend(
        self,
        path: str,
        module: nn.Module,
        forward: Callable[..., Tensor],
        hidden_states: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """The output of a site: enhanced, or its own `forward` where the method is off.

        Raises:
            ByTheWayError: an attention from a list is called with more than we know to use.
        """
        applied, site = self.applied, self.sites[path]
        window = self._windows[path]
        self._windows[path] += 1
        if skips_scores(module):  # with the identity for its map there is nothing to enhance
            return forward(hidden_states, *args, **kwargs)
        if path in self.unknown:
            return self._attend_through(site, forward, hidden_states, *args, **kwargs)
        if applied.attentions is not None:
            _check_no_more_tensors(path, args, kwargs)
        layout = self._layout_of(site, len(hidden_states))
        if not applied.enhance:
            output = forward(hidden_states, *args, **kwargs)
            for one in (self, *self.also):
                if path in one.sites:
                    one._observe(path, module, hidden_states, layout, window)
            return output
        anchor, is_anchor = self._anchor_of(site, window, layout, len(hidden_states)), site.role == "anchor"
        if site.role == "guided" and anchor is None and applied.config.alpha > 0:
            raise ByTheWayError(self._no_anchor(site))
        output, kept, measures = enhanced_attention(
            module,
            hidden_states,
            layout,
            applied.config,
            anchor=anchor,
            keep_map=is_anchor and (applied.config.alpha > 0 or applied.record is not None),
            measure=applied.record is not None,
        )
        if isinstance(getattr(module, "processor", None), PERTURBING_PROCESSORS):
            last = len(output) // self.parts
            output = torch.cat([output[:-last], forward(hidden_states, *args, **kwargs)[-last:]])
        self._keep(site, window, kept, measures)
        return output

    def _observe(self, path: str, module: nn.Module, hidden_states: Tensor, layout: Layout, window: int) -> None:
        """Record a site whose own forward makes the output."""
        site, config = self.sites[path], self.applied.config
        anchor = self._anchor_of(site, window, layout, len(hidden_states))
        kept, measures = observe_attention(
            module, hidden_states, layout, config, anchor=anchor, keep_map=site.role == "anchor"
        )
        self._keep(site, window, kept, measures)

    def _anchor_of(self, site: Site, window: int, layout: Layout, rows: int) -> Anchor | None:
        """The maps of its partner: the n-th window pairs with the anchor's n-th.

        The anchor itself has none, nor have blocks that run before it, when observed.
        """
        if site.role == "anchor" or site.partner is None:
            return None
        anchor = self._anchors.get((site.partner, window))
        if anchor is not None and anchor.layout.parts != layout.parts:
            raise ByTheWayError(self._cut_up(site, rows, layout.height_width))
        return anchor

    def _keep(self, site: Site, window: int, maps: Anchor | None, measures: Measures | None) -> None:
        if maps is not None:
            self._anchors[site.index, window] = maps
        if self.applied.record is not None and measures is not None:
            self.applied.record.add(
                Entry(self.run, self.step, self.timestep, site.block, site.index, window, measures.detach())
            )

    def left_out(self) -> list[str]:
        """The sites that take part and have not been called."""
        return [path for path in self.sites if path not in self._windows]

    def _attend_through(
        self, site: Site, forward: Callable[..., Tensor], hidden_states: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The output of a site that attends in a way of its own: the frames of its values are filtered, which is all of
        the method where nothing is guided. Its maps are not recorded, as nobody sees them.

        Raises:
            ByTheWayError: maps would be needed, or its values are not made by its `to_v`.
        """
        config, way = self.applied.config, f"{site.path} has {self.unknown[site.path]}"
        if self.applied.record is not None:
            warnings.warn(
                f"{way}, so that its maps are not known; it is left out of the record.", ByTheWayWarning, stacklevel=2
            )
        if not self.applied.enhance or config.alpha == config.beta - 1 == 0:
            return forward(hidden_states, *args, **kwargs)
        if config.alpha > 0:
            raise ByTheWayError(
                f"{way}, so that its maps are not known and can neither be guided nor guide; give alpha=0 for motion "
                "enhancement alone, or give the attention a processor of diffusers."
            )
        self._through, self._values = site.path, 0
        try:
            output = forward(hidden_states, *args, **kwargs)
        finally:
            self._through = None
        if self._values != 1:
            raise ByTheWayError(
                f"{way}, which calls its to_v {self._values} times where values to filter are made once; give the "
                "attention a processor of diffusers, or remove bytheway."
            )
        return output

    def filter_values(self, path: str, value: Tensor) -> Tensor:
        """C V for the values (rows, F, channels) of a site that attends in a way of its own.

        Raises:
            ByTheWayError: they are of another shape.
        """
        if self._through != path:
            return value
        self._values += 1
        if value.ndim != 3:
            raise ByTheWayError(
                f"{path} has {self.unknown[path]}, whose values have the shape {tuple(value.shape)} in place of "
                "(rows, F, channels); give the attention a processor of diffusers, or remove bytheway."
            )
        config = self.applied.config
        dtype = torch.promote_types(value.dtype, torch.float32)
        circulant = frequency_filter(value.shape[1], config.tau, config.beta, dtype=dtype, device=value.device)
        return filter_frames_(value, circulant, VideoTokens(0, value.shape[1], 1))

    def _no_anchor(self, site: Site) -> str:
        """Why a site that should be guided has nothing to be guided by."""
        order = "" if self.applied.attentions is None else ", or sites= does not list it in the order in which it runs"
        return (
            f"{site.path} should be guided by the maps of the anchor block, and this call of the denoiser has not made "
            f"them: a cache or a layer skip leaves that block out{order}; take the cache off, or give alpha=0."
        )

    def _layout_of(self, site: Site, rows: int) -> Layout:
        """What the rows of a site's batch are.

        Where something on the way makes one of two parts at a time (FasterCache the conditional one alone), each is a
        batch of its own.

        Raises:
            ByTheWayError: they are not the pixels of its feature map.
        """
        if site.transformer is None:
            # Nothing tells, and nothing is going to be resampled: pixels have only to be counted.
            return Layout(self.parts, self.conditional, (1, rows // self.batch))
        height, width = self.sizes.get(site.transformer, (0, 0))
        whole = self.batch * height * width
        if rows == whole:
            return Layout(self.parts, self.conditional, (height, width))
        if self.parts == 2 and 2 * rows == whole:
            return Layout(1, 0, (height, width))
        if self.applied.attentions is None:
            raise ByTheWayError(self._cut_up(site, rows, (height, width)))
        raise ByTheWayError(
            f"{site.path} is called with {rows} rows, and the module named as its transformer was called for "
            f"{self.batch} x {height} x {width}; name the one that is called with the feature map of these rows."
        )

    def _cut_up(self, site: Site, rows: int, size: tuple[int, int]) -> str:
        """Why it is not known whose pixels the rows of a site's batch are."""
        height, width = size
        return (
            f"{site.path} is called with {rows} rows where {self.batch} x {height} x {width} should be, so that it is "
            "not known whose they are: something on the way cuts up the batch; take that off, or remove bytheway."
        )


def _check_no_more_tensors(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Masks, rotary embeddings and the like would be left out of the map."""
    given = [*(("an argument", one) for one in args), *kwargs.items()]
    more = [name for name, one in given if isinstance(one, Tensor)]
    if more:
        raise ByTheWayError(
            f"{path} is called with {', '.join(more)} beside its hidden states, which would be left out of its maps; "
            "leave it out of sites=."
        )
