"""ByTheWay as one would write it down from the paper: every map made, guided, transformed and transformed back.

This is what people would run without the package, so it is the yardstick of its cost. Settings, sites and band are the
package's, the arithmetic is not: full-size float32 maps, anchors upsampled whole, a Fourier transform of every map, and
a beta that is fetched from the device. One clip at a time: a batch of several would share one beta.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bytheway import ByTheWayConfig
from bytheway.apply.arguments import arguments_of_call
from bytheway.apply.steps import count_active
from bytheway.attention.layout import VideoTokens
from bytheway.families.family import JointAttentions
from bytheway.families.known import denoiser_of, family_of
from bytheway.families.sites import Site, find_sites
from bytheway.families.tokens import joint_attentions, self_attentions
from bytheway.method import high_band

Size = tuple[int, int]


def upsample(anchor: Tensor, size: Size, new_size: Size, heads: int) -> Tensor:
    """The anchor's maps (rows, anchor heads, F, F) as (new rows, heads, F, F): bilinear in space, heads averaged."""
    frames = anchor.shape[-1]
    if anchor.shape[1] != heads:
        anchor = anchor.unflatten(1, (heads, -1)).mean(2)
    planes = anchor.reshape(-1, size[0] * size[1], heads * frames**2).transpose(1, 2).unflatten(2, size)
    planes = F.interpolate(planes, size=new_size, mode="bilinear", align_corners=False)
    return planes.flatten(2).transpose(1, 2).reshape(-1, heads, frames, frames)


def enhance(attn: Tensor, anchor: Tensor | None, config: ByTheWayConfig, conditional: slice) -> Tensor:
    """A3 of the maps A (rows, heads, F, F), by the steps of the paper.

    Args:
        anchor: U(A_1); None in the anchor block itself.
        conditional: the rows whose energies govern.
    """
    maps = attn.float()
    before = _energy(maps[conditional])
    if anchor is not None:
        maps = maps + config.alpha * (anchor.float() - maps)
    spectrum = torch.fft.fft(maps, dim=-1)
    band = high_band(maps.shape[-1], config.tau, device=maps.device)
    low, high = (torch.fft.ifft(spectrum * kept, dim=-1).real for kept in (~band, band))
    needed = ((before - _energy(low[conditional])) / _energy(high[conditional])).sqrt()
    beta = max(config.beta, needed.item())
    enhanced: Tensor = low + beta * high
    return enhanced.to(attn.dtype)


def enhance_joint(attn: Tensor, config: ByTheWayConfig, video: VideoTokens) -> Tensor:
    """Motion enhancement of a joint map (batch, heads, tokens, tokens), made explicit, along the frames of its keys."""
    keys = slice(video.start, video.start + video.frames * video.per_frame)
    maps = attn[..., keys].float().unflatten(-1, (video.frames, video.per_frame))
    spectrum = torch.fft.fft(maps, dim=-2)
    band = high_band(video.frames, config.tau, device=attn.device)
    gains = torch.where(band, config.beta, 1.0)[:, None]
    attn[..., keys] = torch.fft.ifft(spectrum * gains, dim=-2).real.flatten(-2).to(attn.dtype)
    return attn


@contextmanager
def plainly(pipe: Any, config: ByTheWayConfig, steps: int) -> Iterator[None]:
    """The method on one run of a pipeline with classifier-free guidance, through attention processors.

    Args:
        steps: how many denoising steps the run has.
    """
    denoiser: Any = denoiser_of(pipe)
    make = _PlainJoint if isinstance(family_of(denoiser).attentions, JointAttentions) else _PlainSites
    run = make(denoiser, config, count_active(config.active_steps, steps))
    handles = run.follow()
    before = {module: module.processor for module in run.processors}
    for module, processor in run.processors.items():
        module.set_processor(processor)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, processor in before.items():
            module.set_processor(processor)


class _PlainSites:
    """One run of a denoiser with temporal attention.

    Attributes:
        processors: by the attention they are for.
        active: whether the method acts in the call of the denoiser in progress.
        sizes: height and width of the feature maps, by temporal transformer.
        anchors: maps of the anchor block's sites with their sizes, by the index of the site.
    """

    def __init__(self, denoiser: Any, config: ByTheWayConfig, active_steps: int) -> None:
        self.denoiser, self.config, self.active_steps = denoiser, config, active_steps
        self.sites = [site for site in find_sites(denoiser, config) if site.role != "observed"]
        self.processors: dict[Any, Any] = {site.module: _PlainAttention(self, site) for site in self.sites}
        self.calls = 0
        self.active = False
        self.sizes: dict[nn.Module, Size] = {}
        self.anchors: dict[tuple[int, int], tuple[Tensor, Size]] = {}

    def follow(self) -> list[Any]:
        transformers = {site.transformer: None for site in self.sites if site.transformer is not None}
        return [
            self.denoiser.register_forward_pre_hook(self._begin),
            *(module.register_forward_pre_hook(self._note_size, with_kwargs=True) for module in transformers),
        ]

    def _begin(self, *_: Any) -> None:
        self.active = self.calls < self.active_steps
        self.calls += 1
        self.anchors.clear()

    def _note_size(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        height, width = next(iter((*args, *kwargs.values()))).shape[-2:]
        self.sizes[module] = height, width

    def enhanced(self, site: Site, attn: Tensor) -> Tensor:
        assert site.transformer is not None
        size, anchor = self.sizes[site.transformer], None
        if site.role == "anchor":
            self.anchors[site.index] = attn, size
        elif self.config.alpha > 0 and site.partner is not None:
            anchor = upsample(*self.anchors[site.partner], size, site.heads)
        return enhance(attn, anchor, self.config, slice(len(attn) // 2, None))


class _PlainAttention:
    """The processor of one temporal site."""

    def __init__(self, run: _PlainSites, site: Site) -> None:
        self.run, self.site = run, site
        self.own: Any = site.module.processor

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        if not self.run.active:
            output: Tensor = self.own(attn, hidden_states, encoder_hidden_states, attention_mask)
            return output
        query, key, value = (
            projection(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        maps = (query @ key.transpose(-1, -2) * attn.scale).softmax(-1)
        joined = (self.run.enhanced(self.site, maps) @ value).transpose(1, 2).flatten(2)
        output = attn.to_out[1](attn.to_out[0](joined))
        return output


class _PlainJoint:
    """One run of CogVideoX without rotary embeddings (2B): the joint map made explicit. Attributes as above."""

    def __init__(self, denoiser: Any, config: ByTheWayConfig, active_steps: int) -> None:
        self.denoiser, self.config, self.active_steps = denoiser, config, active_steps
        self.family = family_of(denoiser)
        modules: list[Any] = list(self_attentions(denoiser, self.family).values())
        self.processors: dict[Any, Any] = {module: _ExplicitAttention(self, module.processor) for module in modules}
        self.calls = 0
        self.active = False
        self.video = VideoTokens(0, 0, 0)

    def follow(self) -> list[Any]:
        return [self.denoiser.register_forward_pre_hook(self._begin, with_kwargs=True)]

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.active = self.calls < self.active_steps
        self.calls += 1
        inputs = arguments_of_call(module, args, kwargs)
        self.video = joint_attentions(self.family).video_tokens(self.denoiser.config, inputs)


class _ExplicitAttention:
    """The processor of one joint attention; text and video are handed on apart, as CogVideoX's blocks have them."""

    def __init__(self, run: _PlainJoint, own: Any) -> None:
        self.run, self.own = run, own

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        if not self.run.active:
            outputs: tuple[Tensor, Tensor] = self.own(
                attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb
            )
            return outputs
        text = encoder_hidden_states.shape[1]
        tokens = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query, key, value = (
            projection(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        maps = (attn.norm_q(query) @ attn.norm_k(key).transpose(-1, -2) * attn.scale).softmax(-1)
        joined = (enhance_joint(maps, self.run.config, self.run.video) @ value).transpose(1, 2).flatten(2)
        output = attn.to_out[1](attn.to_out[0](joined))
        return output[:, text:], output[:, :text]


def _energy(maps: Tensor) -> Tensor:
    """Mean over rows, heads and queries of the sum over keys of A^2."""
    return maps.square().sum(-1).mean()
