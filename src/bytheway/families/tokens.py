"""Where the video is among the tokens of a joint attention, as the declarations of several families tell it.

Frames are latent frames, after the denoiser's own temporal patches.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bytheway.attention.layout import VideoTokens
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.family import Family, Inputs, JointAttentions, Preset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

Found = TypeVar("Found")

ATTN1: Final = re.compile(r"transformer_blocks\.\d+\.attn1")


def all_but_dc(name: str, tau: int) -> Preset:
    """The preset of a joint attention: motion enhancement alone, in all frequencies but DC.

    Args:
        name: of the preset.
        tau: half of the latent frames of the longest of the model's usual clips.
    """
    return Preset(
        name,
        ByTheWayConfig(alpha=0.0, beta=1.5, tau=tau),
        source="the paper's beta and its band, all but DC, as a starting point",
    )


def patch_size(config: Any) -> tuple[int, int, int]:
    """Latent frames, rows and columns in a token, by a denoiser's config."""
    if isinstance(config.patch_size, int):
        return getattr(config, "patch_size_t", None) or 1, config.patch_size, config.patch_size
    frames, height, width = config.patch_size
    return frames, height, width


def of_latents(config: Any, inputs: Inputs) -> VideoTokens:
    """Latents (batch, channels, F, height, width), cut into patches; nothing comes before the video."""
    return patched(config, *inputs["hidden_states"].shape[2:])


def after_frames(tokens: VideoTokens, count: int) -> VideoTokens:
    """The video without its first `count` frames, which are images that it is made from."""
    return VideoTokens(tokens.start + count * tokens.per_frame, tokens.frames - count, tokens.per_frame)


def of_grid(config: Any, inputs: Inputs) -> VideoTokens:
    """Tokens that the pipeline has made already; the call tells their grid.

    Raises:
        ByTheWayError: it does not.
    """
    if any(inputs.get(name) is None for name in ("num_frames", "height", "width")):
        raise ByTheWayError(
            "The denoiser is not told num_frames, height and width, so where its frames are is not known; run this "
            "pipeline (of LTX-2, those that refine frames or tiles) without bytheway."
        )
    return VideoTokens(0, inputs["num_frames"], inputs["height"] * inputs["width"])


def patched(config: Any, frames: int, height: int, width: int, start: int = 0) -> VideoTokens:
    """The tokens of latents of that size, after `start` others."""
    patch = patch_size(config)
    return VideoTokens(start, frames // patch[0], (height // patch[1]) * (width // patch[2]))


def longest_run(video_coords: Tensor) -> VideoTokens:
    """The video among clips that are packed one after the other: the longest run of frames with times that grow.

    Args:
        video_coords: (batch, 3, tokens), time, row and column; all clips are of one size.
    """
    times, places = video_coords[0, 0], video_coords[0, 1:]
    first_places = (places == places[:, :1]).all(0).nonzero().flatten().tolist()
    per_frame = first_places[1] if len(first_places) > 1 else len(times)
    moments = times[::per_frame].tolist()
    starts = [0, *(n for n in range(1, len(moments)) if moments[n] <= moments[n - 1]), len(moments)]
    runs = [(stop - start, start) for start, stop in pairwise(starts)]
    frames, start = max(runs)
    return VideoTokens(start * per_frame, frames, per_frame)


def once(tensor: Tensor, find: Callable[[Tensor], Found]) -> Found:
    """What is found in a tensor that a pipeline hands over in every step, looked for in the first of them.

    Finding waits for the device. The tensor itself keeps what was found, for as long as it lives.
    """
    if not hasattr(tensor, "_bytheway_found"):
        tensor._bytheway_found = find(tensor)  # type: ignore[attr-defined]
    found: Found = tensor._bytheway_found  # type: ignore[attr-defined]
    return found


def joint_attentions(family: Family) -> JointAttentions:
    """Where a family with joint attention attends; it is asked for no other."""
    assert isinstance(family.attentions, JointAttentions), family.name
    return family.attentions


def check_config(family: Family, config: ByTheWayConfig) -> None:
    """Refuse a config that a joint attention cannot have.

    Raises:
        ByTheWayError: it asks for self-guidance, or names blocks for it.
    """
    if config.alpha > 0:
        raise ByTheWayError(
            f"alpha is {config.alpha:g}, and {family.name} attends over space and time at once: it has no temporal "
            "maps and no decoder levels that could guide one another; give alpha=0, which leaves motion enhancement."
        )
    if config.anchor_block is not None or config.guided_blocks is not None:
        raise ByTheWayError(
            f"anchor_block and guided_blocks are for self-guidance, which {family.name} cannot have; leave them out."
        )


def self_attentions(denoiser: nn.Module, family: Family) -> dict[str, nn.Module]:
    """Every self-attention that the video goes through, by path.

    Raises:
        ByTheWayError: there are none, or something else stands in the place of one.
    """
    pattern = family.attentions.pattern
    found = {path: module for path, module in denoiser.named_modules() if pattern.fullmatch(path)}
    if not found:
        raise ByTheWayError(
            f"This {type(denoiser).__name__} has no self-attention whose path matches {pattern.pattern}."
        )
    for path, module in found.items():
        if not value_projections({path: module}):
            raise ByTheWayError(
                f"{path} is a {type(module).__name__} with neither to_v nor to_qkv, the projections whose values are "
                "filtered; put an attention of diffusers there."
            )
    return found


def value_projections(attentions: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Every projection that makes values of the video, by path, fused ones (`to_qkv`) beside those they stand in for.

    Args:
        attentions: of the denoiser, by path.
    """
    return {
        f"{path}.{name}": projection
        for path, attention in attentions.items()
        for name, projection in attention.named_children()
        if name in ("to_v", "to_qkv")
    }
