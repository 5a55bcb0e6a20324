"""The parameters of VideoCrafter2's UNet by the names of diffusers' 3D UNet. No torch.

VideoCrafter numbers its encoder and decoder layer by layer (`input_blocks`, `output_blocks`), diffusers level by level
(`down_blocks`, `up_blocks`); the layers are the same. Transformers keep their inner names in both.
"""

import re
from collections.abc import Iterable
from typing import Final

from bytheway.errors import ByTheWayError

_OUTSIDE_BLOCKS: Final = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "fps_embedding.0": "time_embedding.fps_embedding.linear_1",
    "fps_embedding.2": "time_embedding.fps_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "init_attn.0": "transformer_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESIDUAL_BLOCK: Final = {
    "in_layers.0": "resnets.{n}.norm1",
    "in_layers.2": "resnets.{n}.conv1",
    "emb_layers.1": "resnets.{n}.time_emb_proj",
    "out_layers.0": "resnets.{n}.norm2",
    "out_layers.3": "resnets.{n}.conv2",
    "skip_connection": "resnets.{n}.conv_shortcut",
    "temopral_conv": "temp_convs.{n}",  # sic
}
_RESAMPLING: Final = {"op": "downsamplers.0.conv", "conv": "upsamplers.0.conv"}
_TRANSFORMERS: Final = {1: "attentions.{n}", 2: "temp_attentions.{n}"}
# The middle block's four layers, as (part, n) of the layers of the other blocks.
_MIDDLE: Final = ((0, 0), (1, 0), (2, 0), (0, 1))

_IN_A_BLOCK: Final = re.compile(
    r"(?:(?P<stage>input_blocks(?!\.0\.)|output_blocks)\.(?P<layer>\d{1,3})|middle_block)\.(?P<part>\d)\.(?P<rest>.+)"
)
_IN_A_LEVEL: Final = re.compile(
    r"(?P<stage>down|mid|up)_blocks?(?:\.(?P<level>\d{1,3}))?\.(?P<inner>(?P<kind>\w+)\.(?P<n>\d)\..+)"
)
# Convolutions of width 1 over the frames in VideoCrafter, (out, in, 1); linear layers in diffusers, (out, in).
_POINTWISE: Final = ("init_attn.0.proj_in.weight", "init_attn.0.proj_out.weight")


def diffusers_name(name: str, layers_per_block: int = 2) -> str:
    """The name in `VideoCrafterUNet` of a parameter of the official UNet.

    Args:
        name: in the official state dict, without the checkpoint's prefix `model.diffusion_model.`.
        layers_per_block: of the UNet (`num_res_blocks` in VideoCrafter's configuration). Widths, number of levels and
            which of them have attention make no difference to the names.

    Raises:
        ByTheWayError: the official UNet has no parameter of such a name.

    >>> diffusers_name("input_blocks.5.2.proj_in.weight")
    'down_blocks.1.temp_attentions.1.proj_in.weight'
    >>> diffusers_name("output_blocks.11.0.in_layers.0.bias")
    'up_blocks.3.resnets.2.norm1.bias'
    """
    renamed = _replace_start(name, _OUTSIDE_BLOCKS)
    if renamed is None and (match := _IN_A_BLOCK.fullmatch(name)):
        renamed = _name_in_a_block(match, layers_per_block)
    if renamed is None:
        raise ByTheWayError(f"{name} is no parameter of VideoCrafter2's UNet; give the UNet of a 512-v2 checkpoint.")
    return renamed


def official_name(name: str, layers_per_block: int = 2) -> str:
    """The inverse of `diffusers_name`, for a UNet with attention everywhere but in its coarsest level.

    >>> official_name("up_blocks.0.upsamplers.0.conv.bias")
    'output_blocks.2.1.conv.bias'
    """
    match = _IN_A_LEVEL.fullmatch(name)
    if match is None:
        # The longest first, for one of the starts may begin another.
        outside = sorted(((ours, theirs) for theirs, ours in _OUTSIDE_BLOCKS.items()), key=lambda pair: -len(pair[0]))
        renamed = _replace_start(name, dict(outside))
        if renamed is None:
            raise ByTheWayError(f"{name} is no parameter of VideoCrafterUNet.")
        return renamed
    level, resampling = int(match["level"] or 0), match["kind"].endswith("samplers")
    n = layers_per_block if resampling else int(match["n"])
    part, inner = _official_layer(match["inner"], int(match["n"]), attended=level > 0)
    layer = level * (layers_per_block + 1) + n
    match match["stage"]:
        case "mid":
            return f"middle_block.{_MIDDLE.index((part, n))}.{inner}"
        case "down":
            return f"input_blocks.{layer + 1}.{part}.{inner}"
        case _:
            return f"output_blocks.{layer}.{part}.{inner}"


def diffusers_shape(name: str, shape: Iterable[int]) -> tuple[int, ...]:
    """The shape in `VideoCrafterUNet` of a parameter of the official UNet; the order of its elements is the same.

    The same shape for all but the two projections of `init_attn`, whose last axis, of length 1, is dropped.

    Args:
        name: as for `diffusers_name`.
        shape: in the official state dict.

    >>> diffusers_shape("init_attn.0.proj_in.weight", (512, 320, 1))
    (512, 320)
    """
    sizes = tuple(shape)
    return sizes[:-1] if name in _POINTWISE else sizes


def _name_in_a_block(match: re.Match[str], layers_per_block: int) -> str | None:
    part, rest = int(match["part"]), match["rest"]
    if match["stage"] is None:
        if part >= len(_MIDDLE):
            return None
        block, (part, n) = "mid_block", _MIDDLE[part]
    elif match["stage"] == "input_blocks":
        # The first of the input blocks is conv_in; a level ends in its downsampler.
        level, n = divmod(int(match["layer"]) - 1, layers_per_block + 1)
        block = f"down_blocks.{level}"
    else:
        # A level of the decoder has a layer more, and its upsampler at the end of the last.
        level, n = divmod(int(match["layer"]), layers_per_block + 1)
        block = f"up_blocks.{level}"
    inner = _replace_start(rest, _RESAMPLING)
    if inner is None and part in _TRANSFORMERS:
        inner = f"{_TRANSFORMERS[part].format(n=n)}.{rest}"
    elif inner is None:
        inner = _replace_start(rest, _RESIDUAL_BLOCK, n)
    return None if inner is None else f"{block}.{inner}"


def _official_layer(inner: str, n: int, attended: bool) -> tuple[int, str]:
    """The part of its layer that a parameter of a block belongs to, and its name there."""
    parts = dict.fromkeys(_RESIDUAL_BLOCK, 0) | {"op": 0, "conv": 3 if attended else 1}
    for theirs, ours in (_RESIDUAL_BLOCK | _RESAMPLING).items():
        start = ours.format(n=n)
        if inner.startswith(f"{start}."):
            return parts[theirs], theirs + inner.removeprefix(start)
    for part, ours in _TRANSFORMERS.items():
        start = ours.format(n=n)
        if inner.startswith(f"{start}."):
            return part, inner.removeprefix(f"{start}.")
    raise ByTheWayError(f"{inner} is no parameter of a block of VideoCrafterUNet.")


def _replace_start(name: str, starts: dict[str, str], n: int = 0) -> str | None:
    """The name with the one of `starts` that it begins with, as whole components, replaced; None if there is none."""
    for start, replacement in starts.items():
        if name.startswith(f"{start}."):
            return replacement.format(n=n) + name.removeprefix(start)
    return None
