"""Motion enhancement for denoisers that attend over space, time and (some) text at once: where their video tokens are.

Such a map is N x N over all tokens and is never made. It does not have to be: filtering its keys along the frames is
filtering the values, A3 V = A (C V), with C the F x F circulant of `bytheway.method.frequency_filter` acting on the
frames of V's video tokens, at each place of a frame by itself. That is exact for every attention kernel, costs
O(N channels), and leaves the values of text and other tokens as they are. None of the denoisers below does anything to
V between its projection and the attention (norms and rotary embeddings act on Q and K), so the filter goes right behind
the projection. Frames are latent frames, after the denoiser's own temporal patches.

There are no decoder levels of which one could guide another, so this is all of the method here: alpha is 0, and beta is
the one of the settings, for nothing takes energy away that an adaptive rule would have to give back.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.method import frequency_filter

Inputs = Mapping[str, Any]

_PART: Final = 2**22  # elements of V that are filtered at once


class VideoTokens(NamedTuple):
    """The video in a sequence of tokens: frame after frame, the tokens of a frame together.

    Attributes:
        start: number of tokens before the video, such as those of a text that comes first.
        frames: latent frames, after temporal patches.
        per_frame: tokens of a frame.
    """

    start: int
    frames: int
    per_frame: int


@dataclass(frozen=True)
class JointArchitecture:
    """One family of denoisers whose self-attention runs over all frames at once.

    Attributes:
        name: as people write it.
        denoisers: class names of its denoiser.
        pattern: matches the paths of the self-attentions that the video goes through. Their value projection is
            `to_v` (of the video, or of the video and the text in one sequence), or the last third of a fused `to_qkv`;
            a text stream of its own (`add_v_proj`) is not touched.
        preset: name of its settings in `bytheway.config.PRESETS`.
        video_tokens: from the denoiser's config and the arguments of its call, by name, where the video is in the
            sequence that `to_v` is called with.
    """

    name: str
    denoisers: tuple[str, ...]
    pattern: re.Pattern[str]
    preset: str
    video_tokens: Callable[[Any, Inputs], VideoTokens]


def patch_size(config: Any) -> tuple[int, int, int]:
    """Latent frames, rows and columns in a token, by a denoiser's config."""
    if isinstance(config.patch_size, int):
        return getattr(config, "patch_size_t", None) or 1, config.patch_size, config.patch_size
    frames, height, width = config.patch_size
    return frames, height, width


def _of_cogvideox(config: Any, inputs: Inputs) -> VideoTokens:
    """(batch, F, channels, height, width); the text comes first. An image is in the channels."""
    _, frames, _, height, width = inputs["hidden_states"].shape
    return _patched(config, frames, height, width, start=inputs["encoder_hidden_states"].shape[1])


def _of_latents(config: Any, inputs: Inputs) -> VideoTokens:
    """(batch, channels, F, height, width); nothing comes before the video.

    Wan: text, and the embedding of an image, are in the cross-attention; the image itself is in the channels, or in
    the first frame. HunyuanVideo: text (1.5: and the embedding of an image) has projections of its own, or follows the
    video (single stream); an image is in the channels, or takes the place of the first frame. Mochi: text has
    projections of its own.
    """
    return _patched(config, *inputs["hidden_states"].shape[2:])


def _of_ltx(config: Any, inputs: Inputs) -> VideoTokens:
    """Packed already; the call tells the grid, or where each token is (keyframes then come beside the video)."""
    if inputs.get("video_coords") is not None:
        return _longest_run(inputs["video_coords"])
    return _of_grid(config, inputs)


def _of_grid(config: Any, inputs: Inputs) -> VideoTokens:
    """Packed already; the call tells the grid. LTX-2: keyframes and references follow, audio goes by itself."""
    if any(inputs.get(name) is None for name in ("num_frames", "height", "width")):
        raise ByTheWayError(
            "The denoiser is not told num_frames, height and width, so where its frames are is not known; run this "
            "pipeline (of LTX-2, those that refine frames or tiles) without bytheway."
        )
    return VideoTokens(0, inputs["num_frames"], inputs["height"] * inputs["width"])


def _patched(config: Any, frames: int, height: int, width: int, start: int = 0) -> VideoTokens:
    patch = patch_size(config)
    return VideoTokens(start, frames // patch[0], (height // patch[1]) * (width // patch[2]))


def _longest_run(video_coords: Tensor) -> VideoTokens:
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


_ATTN1: Final = re.compile(r"transformer_blocks\.\d+\.attn1")

JOINT_ARCHITECTURES: Final[tuple[JointArchitecture, ...]] = (
    JointArchitecture("CogVideoX", ("CogVideoXTransformer3DModel",), _ATTN1, "cogvideox", _of_cogvideox),
    JointArchitecture("Wan", ("WanTransformer3DModel",), re.compile(r"blocks\.\d+\.attn1"), "wan", _of_latents),
    JointArchitecture(
        "HunyuanVideo",
        ("HunyuanVideoTransformer3DModel", "HunyuanVideo15Transformer3DModel"),
        re.compile(r"(single_)?transformer_blocks\.\d+\.attn"),
        "hunyuanvideo",
        _of_latents,
    ),
    JointArchitecture("LTX-Video", ("LTXVideoTransformer3DModel",), _ATTN1, "ltx", _of_ltx),
    JointArchitecture("LTX-2", ("LTX2VideoTransformer3DModel",), _ATTN1, "ltx", _of_grid),
    JointArchitecture("Mochi", ("MochiTransformer3DModel",), _ATTN1, "mochi", _of_latents),
)


def check_settings(architecture: JointArchitecture, config: ByTheWayConfig) -> None:
    """Refuse settings that a joint attention cannot have.

    Raises:
        ByTheWayError: the settings ask for self-guidance, or name blocks for it.
    """
    if config.alpha > 0:
        raise ByTheWayError(
            f"alpha is {config.alpha:g}, and {architecture.name} attends over space and time at once: it has no "
            "temporal maps and no decoder levels that could guide one another; give alpha=0, which leaves motion "
            "enhancement."
        )
    if config.anchor_block is not None or config.guided_blocks is not None:
        raise ByTheWayError(
            f"anchor_block and guided_blocks are for self-guidance, which {architecture.name} cannot have; leave them "
            "out."
        )


def self_attentions(denoiser: nn.Module, architecture: JointArchitecture) -> dict[str, nn.Module]:
    """Every self-attention that the video goes through, by path.

    Raises:
        ByTheWayError: there are none.
    """
    found = {path: module for path, module in denoiser.named_modules() if architecture.pattern.fullmatch(path)}
    if not found:
        raise ByTheWayError(
            f"This {type(denoiser).__name__} has no self-attention whose path matches {architecture.pattern.pattern}."
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


def passed_values(config: Any, inputs: Inputs) -> dict[str, Tensor | None]:
    """The self-attentions of which a call takes the values themselves for the output, to be guided away from that.

    The identity is then in the place of the map (LTX-2's spatio-temporal guidance), which leaves nothing to enhance.

    Args:
        config, inputs: of the denoiser, and of its call.

    Returns:
        By path, for which entries of the batch, (batch,); None: for all.
    """
    blocks = inputs.get("spatio_temporal_guidance_blocks")
    if not blocks or not config.perturbed_attn:
        return {}
    mask = inputs.get("perturbation_mask")
    rows = None if mask is None else mask.flatten() == 0
    return {f"transformer_blocks.{number}.attn1": rows for number in blocks}


@lru_cache(maxsize=32)
def circulant(num_frames: int, tau: int, beta: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """C of `bytheway.method`, (F, F), in float32 at least. Made once, so that no step waits for a copy."""
    with torch.inference_mode(False):
        dtype = torch.promote_types(dtype, torch.float32)
        return frequency_filter(num_frames, tau, beta, dtype=dtype, device=device)


def filter_frames_(value: Tensor, circulant: Tensor, video: VideoTokens, passed: Tensor | None = None) -> Tensor:
    """C V along the frames of the video tokens, in place, in float32 at least and rounded once.

    In V's own half precision the rows of C would not sum to 1, and what stands still would be scaled; the wide copy is
    made part by part instead.

    Args:
        value: (batch, tokens, channels); tokens that are not of the video keep their values, bit for bit.
        passed: (batch,), the entries of the batch that keep theirs; None: none.

    Raises:
        ByTheWayError: there are fewer tokens than the video has.
    """
    count = video.frames * video.per_frame
    if value.shape[1] < video.start + count:
        raise ByTheWayError(
            f"An attention is given {value.shape[1]} tokens where {video.frames} frames of {video.per_frame} should "
            "be; bytheway does not serve sequences that are split between devices."
        )
    frames = value[:, video.start : video.start + count].unflatten(1, (video.frames, -1))
    circulant = circulant.to(value.device)
    places = max(1, _PART * video.per_frame // frames.numel())
    for place in range(0, video.per_frame, places):
        part = frames[:, :, place : place + places]
        wide = part.to(circulant.dtype).flatten(2)
        # Autocast would round the filter, and so scale what it has to keep.
        with torch.autocast(value.device.type, enabled=False):
            filtered = circulant @ wide
        if passed is not None:
            filtered = torch.where(passed[:, None, None], wide, filtered)
        part.copy_(filtered.unflatten(2, part.shape[2:]))
    return value
