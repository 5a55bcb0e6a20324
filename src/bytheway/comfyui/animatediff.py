"""The method on AnimateDiff-Evolved: maps of its motion modules, guided and enhanced.

Its motion modules sit in the UNet while it samples. Each of their attentions calls an attribute of its own,
`actual_attention`, with query, key and value: that is what is replaced, for one forward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from torch import Tensor

from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor
from bytheway.attention.site import attend
from bytheway.comfyui.recorder import Recorder
from bytheway.comfyui.wrapper import OPTIONS, Enhancement, denoiser_of
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.sites import Site, TemporalAttention, find_sites

CONDITIONAL: Final = 0  # what ComfyUI calls the conditional part in cond_or_uncond


class MotionEnhancement(Enhancement):
    """The whole method for a model with AnimateDiff-Evolved's motion modules."""

    def __init__(self, config: ByTheWayConfig, recorder: Recorder | None = None) -> None:
        super().__init__(recorder)
        self.config = config

    def config_for(self, model: Any) -> ByTheWayConfig:
        return self.config

    def run(self, executor: Any, config: ByTheWayConfig, step: int, /, *args: Any, **kwargs: Any) -> Any:
        if config.alpha == 0 and config.beta == 1 and self.recorder is None:
            return executor(*args, **kwargs)
        blocks = getattr(denoiser_of(executor), "output_blocks", ())
        with ExitStack() as undo:
            for sites in sites_of_models(blocks, config):
                Forward(config, self.recorder, args[OPTIONS], args[1]).attach(sites, undo)
            return executor(*args, **kwargs)


def sites_of_models(blocks: Any, config: ByTheWayConfig) -> list[list[Site]]:
    """The sites of every motion model in a UNet, in the order in which they run.

    Args:
        blocks: the `output_blocks` of the UNet, in which motion modules have been put.

    Raises:
        ByTheWayError: there are none, or the config names blocks that are not there.
    """
    models: dict[int, list[TemporalAttention]] = {}
    met: Counter[tuple[int, int]] = Counter()
    for path, module in _motion_modules(blocks):
        place = (module.block_idx, module.module_idx)
        attentions = models.setdefault(met[place], [])
        met[place] += 1  # of several motion models each has a module in this place
        attentions += [
            TemporalAttention(
                f"{path}.temporal_transformer.transformer_blocks.{k}.attention_blocks.{j}",
                f"up_blocks.{module.block_idx}",
                path,
            )
            for k, block in enumerate(module.temporal_transformer.transformer_blocks)
            for j, attention in enumerate(block.attention_blocks)
            if not attention.is_cross_attention
        ]
    if not models:
        raise ByTheWayError(
            "This model has no motion modules of AnimateDiff-Evolved; put ByTheWay (AnimateDiff) behind its Apply "
            "AnimateDiff Model and Use Evolved Sampling, or use ByTheWay (video models) for a video model."
        )
    return [find_sites(blocks, _with_anchor(config, attentions), attentions) for attentions in models.values()]


def _motion_modules(blocks: Any) -> Iterator[tuple[str, Any]]:
    """Every temporal module with its path below the blocks, in the order in which they run."""
    for number, block in enumerate(blocks):
        for place, module in enumerate(block):
            if type(module).__name__ == "VanillaTemporalModule":
                yield f"{number}.{place}", module


def _with_anchor(config: ByTheWayConfig, attentions: list[TemporalAttention]) -> ByTheWayConfig:
    """The config with its anchor block: up_blocks.1 of the four of Stable Diffusion 1.5, up_blocks.0 of SDXL's three.

    That is the block at a quarter of the latents' resolution, as in diffusers.
    """
    blocks = list(dict.fromkeys(one.block for one in attentions))
    return config if config.anchor_block is not None else config.replace(anchor_block=blocks[-3:][0])


class Forward:
    """One forward of the denoiser in an active step, for the sites of one motion model."""

    def __init__(
        self, config: ByTheWayConfig, recorder: Recorder | None, options: dict[str, Any], timestep: Tensor
    ) -> None:
        self.config = config
        self.recorder = recorder
        self.options = options
        self.timestep = timestep
        entries = list(options["cond_or_uncond"])
        self.parts = len(entries)
        # Of several prompts the first, which ComfyUI puts last; a forward without one goes by its own energies.
        self.conditional = max((at for at, entry in enumerate(entries) if entry == CONDITIONAL), default=0)
        self._sizes: dict[Any, tuple[int, int]] = {}
        self._anchors: dict[tuple[tuple[int, int], int], Anchor] = {}
        self._calls: Counter[str] = Counter()

    def attach(self, sites: list[Site], undo: ExitStack) -> None:
        """Take the place of the sites' attention, until `undo` is closed."""
        taking_part = [site for site in sites if site.role in ("anchor", "guided")]
        for transformer in {site.transformer: None for site in taking_part if site.transformer is not None}:
            undo.callback(transformer.register_forward_pre_hook(self._note_size).remove)
        for site in taking_part:
            attention: Any = site.module
            own = attention.actual_attention
            undo.callback(setattr, attention, "actual_attention", own)
            attention.actual_attention = partial(self.enhance, site, own)

    def _note_size(self, module: Any, args: tuple[Any, ...]) -> None:
        height, width = args[0].shape[-2:]
        self._sizes[module] = (height, width)

    def enhance(
        self,
        site: Site,
        own: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        heads: int,
        mask: Tensor | None = None,
    ) -> Tensor:
        """What an attention returns: (parts * height * width, F, heads * channels), as query, key and value are.

        Raises:
            ByTheWayError: the site should be guided, and the anchor block was left out.
        """
        if mask is not None:  # no map of the method's has one
            return own(query, key, value, heads, mask)
        config, call = self.config, self._calls[site.path]
        self._calls[site.path] += 1  # view options call it for a few frames at a time: the n-th call meets the n-th
        is_anchor = site.role == "anchor"
        anchor = None if is_anchor or site.partner is None else self._anchors.get((site.partner, call))
        if not is_anchor and anchor is None and config.alpha > 0:
            raise ByTheWayError(
                f"{site.block} should be guided by the maps of the anchor block, which AnimateDiff-Evolved leaves out "
                "here (an effect of 0 by a keyframe or by per-block settings); give that block an effect, or set "
                "self_guidance to 0."
            )
        query, key, value = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (query, key, value))
        output, kept, measures = attend(
            query,
            key,
            value,
            Layout(self.parts, self.conditional, self._sizes[site.transformer]),
            config,
            scale=query.shape[-1] ** -0.5,
            anchor=anchor,
            keep_map=is_anchor and (config.alpha > 0 or self.recorder is not None),
            measure=self.recorder is not None,
        )
        if kept is not None:
            self._anchors[site.index, call] = kept
        if self.recorder is not None and measures is not None:
            frames = query.shape[-2]
            self.recorder.add(self.options, self.timestep, site.block, site.index, call, frames, measures)
        return output.transpose(1, 2).flatten(2)
