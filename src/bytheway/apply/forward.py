"""One call of the denoiser: the settings it is made under, and what its sites tell one another."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import PAGCFGIdentitySelfAttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0
from torch import Tensor, nn

from bytheway.apply.steps import StepWindow
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor
from bytheway.attention.projections import enhanced_attention, observe_attention
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.sites import Site, TemporalAttention, find_sites
from bytheway.record import Entry, Record

# In the last part of the batch these put the identity in the place of the map (PAG), which leaves nothing to enhance.
_PERTURBING = (PAGCFGIdentitySelfAttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0)


@dataclass(eq=False)
class Settings:
    """What a pipeline, or a bare denoiser, was given.

    Attributes:
        enhance: False: the method is off and every site of every step is only recorded.
        record: where measures go; None: none are made.
        scheduler, classifier_free_guidance: for a loop of one's own; a pipeline that runs tells both itself.
        attentions: where the temporal self-attentions are; None: as the architecture declares.
        window: where the run is.
        sites: by their paths.
    """

    config: ByTheWayConfig
    enhance: bool = True
    record: Record | None = None
    scheduler: Any = None
    classifier_free_guidance: bool | None = None
    attentions: Sequence[TemporalAttention] | None = None
    window: StepWindow = field(init=False)
    sites: dict[str, Site] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.window = StepWindow(self.config.active_steps)

    def find_sites(self, denoiser: nn.Module) -> None:
        self.sites = {site.path: site for site in find_sites(denoiser, self.config, self.attentions)}

    @property
    def active(self) -> bool:
        """Whether anything is to be done in the present step."""
        return self.window.active or not self.enhance

    def takes_part(self, path: str) -> bool:
        """Whether anything is to be done at a site in an active step."""
        return path in self.sites and (self.sites[path].role != "observed" or not self.enhance)


@dataclass(eq=False)
class Call:
    """One call of the denoiser in an active step.

    Attributes:
        parts, conditional: of its batch, see `Layout`.
        batch: how many entries it has.
        sizes: height and width of the feature maps that the denoiser and its temporal transformers were called with.
        compiled: torch.compile has the denoiser as a whole.
    """

    settings: Settings
    timestep: Tensor | float
    parts: int
    conditional: int
    batch: int
    sizes: dict[nn.Module, tuple[int, int]]
    compiled: bool
    # The maps of the anchor block, by site index and window.
    _anchors: dict[tuple[tuple[int, int], int], Anchor] = field(default_factory=dict)
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
        settings, site = self.settings, self.settings.sites[path]
        if settings.attentions is not None:
            _check_no_more_tensors(path, args, kwargs)
        window = self._windows[path]
        self._windows[path] += 1
        layout = Layout(self.parts, self.conditional, self._size_at(site, len(hidden_states)))
        is_anchor = site.role == "anchor"
        # The n-th window pairs with the anchor's n-th. Blocks that run before the anchor, when observed, have none.
        anchor = None if is_anchor or site.partner is None else self._anchors.get((site.partner, window))
        if settings.enhance:
            if site.role == "guided" and anchor is None and settings.config.alpha > 0:
                raise ByTheWayError(
                    f"{path} is called before the anchor block is, whose maps should guide it; list the sites in the "
                    "order in which they run, or give alpha=0."
                )
            keep_map = is_anchor and (settings.config.alpha > 0 or settings.record is not None)
            output, kept, measures = enhanced_attention(
                module,
                hidden_states,
                layout,
                settings.config,
                anchor=anchor,
                keep_map=keep_map,
                measure=settings.record is not None,
            )
            if isinstance(getattr(module, "processor", None), _PERTURBING):
                last = len(output) // self.parts
                output = torch.cat([output[:-last], forward(hidden_states, *args, **kwargs)[-last:]])
        else:
            output = forward(hidden_states, *args, **kwargs)
            kept, measures = observe_attention(
                module, hidden_states, layout, settings.config, anchor=anchor, keep_map=is_anchor
            )
        if kept is not None:
            self._anchors[site.index, window] = kept
        if settings.record is not None and measures is not None:
            place = settings.window
            settings.record.add(
                Entry(place.run, place.step, self.timestep, site.block, site.index, window, measures.detach())
            )
        return output

    def _size_at(self, site: Site, rows: int) -> tuple[int, int]:
        """Height and width of the feature map whose pixels are the rows of a site's batch.

        Raises:
            ByTheWayError: they are not.
        """
        if site.transformer is None:
            # Nothing tells, and nothing is going to be resampled: pixels have only to be counted.
            return 1, rows // self.batch
        height, width = self.sizes.get(site.transformer, (0, 0))
        if rows != self.batch * height * width:
            raise ByTheWayError(
                f"{site.path} is called with {rows} rows, and the module named as its transformer was called for "
                f"{self.batch} x {height} x {width}; name the one that is called with the feature map of these rows."
            )
        return height, width


def _check_no_more_tensors(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Masks, rotary embeddings and the like would be left out of the map."""
    given = [*(("an argument", one) for one in args), *kwargs.items()]
    more = [name for name, one in given if isinstance(one, Tensor)]
    if more:
        raise ByTheWayError(
            f"{path} is called with {', '.join(more)} beside its hidden states, which would be left out of its maps; "
            "leave it out of sites=."
        )
