"""The attention of one temporal site by itself: the same q, k and v through three forms of it.

Vanilla is what diffusers' processor does between the projections: heads apart, `scaled_dot_product_attention`, heads
together. Ours is `bytheway.attention.attend`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.cases import Block
from benchmarks.columns import OURS, PLAIN, VANILLA
from benchmarks.plain import enhance, enhance_joint, upsample
from bytheway import ByTheWayConfig
from bytheway.attention import Anchor, Attended, Layout, VideoTokens, attend
from bytheway.attention.joint import filter_frames_
from bytheway.method import frequency_filter

Forms = Mapping[str, Callable[[], object]]


def forms(
    block: Block,
    anchor: Block | None,
    config: ByTheWayConfig,
    dtype: torch.dtype,
    device: torch.device,
    frames: int = 16,
    videos: int = 1,
) -> Forms:
    """The three forms of one site's attention under classifier-free guidance, by column.

    Args:
        anchor: whose map guides the block; None: the block is the anchor, whose map is kept.
    """
    tokens = _tokens(block, frames, videos, dtype, device)
    layout = Layout(2, 1, block.size)
    if anchor is None:
        return {
            VANILLA: lambda: _vanilla(tokens, block.heads),
            OURS: lambda: _ours(tokens, block.heads, layout, config, keep_map=True),
            PLAIN: lambda: _plain(tokens, block.heads, None, config),
        }
    anchor_tokens = _tokens(anchor, frames, videos, dtype, device)
    kept = _ours(anchor_tokens, anchor.heads, Layout(2, 1, anchor.size), config, keep_map=True).anchor
    maps = _map(anchor_tokens, anchor.heads)
    return {
        VANILLA: lambda: _vanilla(tokens, block.heads),
        OURS: lambda: _ours(tokens, block.heads, layout, config, anchor=kept),
        PLAIN: lambda: _plain(tokens, block.heads, upsample(maps, anchor.size, block.size, block.heads), config),
    }


def joint_forms(
    video: VideoTokens, heads: int, channels: int, config: ByTheWayConfig, dtype: torch.dtype, device: torch.device
) -> Forms:
    """The three forms of one joint attention under classifier-free guidance, by column.

    Args:
        video: the text comes first, the video ends the sequence.
    """
    length = video.start + video.frames * video.per_frame
    generator = torch.Generator(device).manual_seed(0)
    tokens = torch.randn(3, 2, length, channels, generator=generator, device=device).to(dtype)
    # The filter works in place: one that leaves the values as they are costs the same, however often it is called.
    identity = frequency_filter(
        video.frames, config.tau, 1.0, dtype=torch.promote_types(dtype, torch.float32), device=device
    )

    def ours() -> Tensor:
        filter_frames_(tokens[2], identity, video)
        return _vanilla(tokens, heads)

    def plain() -> Tensor:
        maps = enhance_joint(_map(tokens, heads), config, video)
        return (maps @ _heads_apart(tokens[2], heads)).transpose(1, 2).flatten(2)

    return {VANILLA: lambda: _vanilla(tokens, heads), OURS: ours, PLAIN: plain}


def _tokens(block: Block, frames: int, videos: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Query, key and value as their projections make them, (3, 2 * videos * pixels, F, channels)."""
    rows = 2 * videos * block.size[0] * block.size[1]
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(3, rows, frames, block.channels, generator=generator, device=device).to(dtype)


def _heads_apart(tokens: Tensor, heads: int) -> Tensor:
    """(3, rows, heads, F, channels of a head)."""
    apart: Tensor = tokens.unflatten(-1, (heads, -1))
    return apart.transpose(-3, -2)


def _vanilla(tokens: Tensor, heads: int) -> Tensor:
    query, key, value = _heads_apart(tokens, heads)
    output: Tensor = F.scaled_dot_product_attention(query, key, value)
    return output.transpose(1, 2).flatten(2)


def _ours(
    tokens: Tensor,
    heads: int,
    layout: Layout,
    config: ByTheWayConfig,
    *,
    anchor: Anchor | None = None,
    keep_map: bool = False,
) -> Attended:
    query, key, value = _heads_apart(tokens, heads)
    scale = query.shape[-1] ** -0.5
    attended = attend(query, key, value, layout, config, scale=scale, anchor=anchor, keep_map=keep_map)
    return attended._replace(output=attended.output.transpose(1, 2).flatten(2))


def _map(tokens: Tensor, heads: int) -> Tensor:
    query, key, _ = _heads_apart(tokens, heads)
    scores: Tensor = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.softmax(-1)


def _plain(tokens: Tensor, heads: int, anchor: Tensor | None, config: ByTheWayConfig) -> Tensor:
    maps = enhance(_map(tokens, heads), anchor, config, slice(tokens.shape[1] // 2, None))
    output: Tensor = maps @ _heads_apart(tokens[2], heads)
    return output.transpose(1, 2).flatten(2)
