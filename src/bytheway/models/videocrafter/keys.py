"""The parameters of VideoCrafter2's UNet by the names of VideoCrafter's own code. No torch.

VideoCrafter numbers its encoder and decoder layer by layer (`input_blocks`, `output_blocks`), diffusers level by level
(`down_blocks`, `up_blocks`); the layers are the same. Transformers keep their inner names in both.
"""

import re
from typing import Final

from bytheway.errors import ByTheWayError

_OUTSIDE_BLOCKS: Final = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.fps_embedding.linear_1": "fps_embedding.0",
    "time_embedding.fps_embedding.linear_2": "fps_embedding.2",
    "conv_in": "input_blocks.0.0",
    "transformer_in": "init_attn.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
# In a block: the part of its layer that a module is, and its name there.
_IN_A_LAYER: Final = {
    "resnets.{n}.norm1": (0, "in_layers.0"),
    "resnets.{n}.conv1": (0, "in_layers.2"),
    "resnets.{n}.time_emb_proj": (0, "emb_layers.1"),
    "resnets.{n}.norm2": (0, "out_layers.0"),
    "resnets.{n}.conv2": (0, "out_layers.3"),
    "resnets.{n}.conv_shortcut": (0, "skip_connection"),
    "temp_convs.{n}": (0, "temopral_conv"),  # sic
    "attentions.{n}": (1, None),
    "temp_attentions.{n}": (2, None),
    "downsamplers.0.conv": (0, "op"),
    "upsamplers.0.conv": (3, "conv"),
}
# The middle block's four layers, as (part, n) of the layers of the other blocks.
_MIDDLE: Final = ((0, 0), (1, 0), (2, 0), (0, 1))

_IN_A_BLOCK: Final = re.compile(
    r"(?P<stage>down|mid|up)_blocks?(?:\.(?P<level>\d{1,3}))?\.(?P<inner>(?P<kind>\w+)\.(?P<n>\d)\..+)"
)


def official_name(name: str, layers_per_block: int = 2) -> str:
    """The name in the official UNet of a parameter of `VideoCrafterUNet`, both with attention on all but one level.

    Args:
        name: in `VideoCrafterUNet`; the level without attention is the coarsest.
        layers_per_block: of the UNet (`num_res_blocks` in VideoCrafter's configuration). Widths and the number of
            levels make no difference to the names.

    Returns:
        The name without the checkpoint's prefix `model.diffusion_model.`.

    Raises:
        ByTheWayError: the UNet has no parameter of such a name.

    >>> official_name("down_blocks.1.temp_attentions.1.proj_in.weight")
    'input_blocks.5.2.proj_in.weight'
    >>> official_name("up_blocks.0.upsamplers.0.conv.bias")
    'output_blocks.2.1.conv.bias'
    """
    match = _IN_A_BLOCK.fullmatch(name)
    if match is None:
        for ours, theirs in _OUTSIDE_BLOCKS.items():
            if name.startswith(f"{ours}."):
                return theirs + name.removeprefix(ours)
        raise ByTheWayError(f"{name} is no parameter of VideoCrafterUNet.")
    level, n = int(match["level"] or 0), int(match["n"])
    part, inner = _in_its_layer(match["inner"], n)
    if match["stage"] == "mid":
        return f"middle_block.{_MIDDLE.index((part, n))}.{inner}"
    # A level of the encoder ends in a layer that is its downsampler. One of the decoder has a layer more, and the last
    # of them ends in the upsampler, after its transformers where it has any.
    resampling = match["kind"].endswith("samplers")
    layer = level * (layers_per_block + 1) + (layers_per_block if resampling else n)
    if match["stage"] == "down":  # the first of the input blocks is conv_in
        return f"input_blocks.{layer + 1}.{part}.{inner}"
    return f"output_blocks.{layer}.{1 if resampling and level == 0 else part}.{inner}"


def _in_its_layer(inner: str, n: int) -> tuple[int, str]:
    """The part of its layer that a parameter of a block belongs to, and its name there."""
    for pattern, (part, theirs) in _IN_A_LAYER.items():
        ours = pattern.format(n=n)
        if inner.startswith(f"{ours}."):
            rest = inner.removeprefix(f"{ours}.")
            return part, rest if theirs is None else f"{theirs}.{rest}"
    raise ByTheWayError(f"{inner} is no parameter of a block of VideoCrafterUNet.")
