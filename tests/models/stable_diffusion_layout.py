"""An image pipeline's tensors as the single file of Stable Diffusion 1.x lays them out."""

import re
from collections.abc import Iterator
from typing import Any

import torch

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def single_file(pipe: Any) -> dict[str, torch.Tensor]:
    """UNet, autoencoder and text encoder of a Stable Diffusion pipeline with two layers a block, in one dictionary."""
    return {
        **{f"model.diffusion_model.{name}": tensor for name, tensor in _unet(pipe.unet)},
        **{f"first_stage_model.{name}": tensor for name, tensor in vae_tensors(pipe.vae)},
        **{f"cond_stage_model.transformer.{name}": tensor for name, tensor in _text(pipe.text_encoder)},
    }


def _text(encoder: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in encoder.state_dict().items():
        yield f"text_model.{name.removeprefix('text_model.')}", tensor


def _unet(unet: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in unet.state_dict().items():
        part, end = name.rsplit(".", 1)
        yield UNET[part] + "." + end if part in UNET else _unet_block(name, unet), tensor


def _unet_block(name: str, unet: Any) -> str:
    block, kind, number, rest = re.fullmatch(r"(.*?)\.(resnets|attentions|\w+samplers)\.(\d)\.(.*)", name).groups()
    side, _, level = block.partition(".")
    i, j = int(level or 0), int(number)
    if kind == "resnets":
        part, _, end = rest.partition(".")
        rest = f"{RESNET[part]}.{end}"
    if side == "mid_block":
        return f"middle_block.{1 if kind == 'attentions' else 2 * j}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{3 * i + 3}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        attended = "CrossAttn" in unet.config.up_block_types[i]
        return f"output_blocks.{3 * i + 2}.{2 if attended else 1}.{rest}"
    place = f"input_blocks.{3 * i + j + 1}" if side == "down_blocks" else f"output_blocks.{3 * i + j}"
    return f"{place}.{0 if kind == 'resnets' else 1}.{rest}"


def vae_tensors(vae: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters of an autoencoder by their names in such a file, without the prefix."""
    top = len(vae.config.block_out_channels) - 1
    for name, tensor in vae.state_dict().items():
        attention = re.fullmatch(r"(.*)\.mid_block\.attentions\.0\.(.*)\.(weight|bias)", name)
        if attention:
            side, part, end = attention.groups()
            is_projection = part != "group_norm" and end == "weight"
            yield f"{side}.mid.attn_1.{VAE_ATTENTION[part]}.{end}", tensor[..., None, None] if is_projection else tensor
            continue
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
        name = re.sub(r"up_blocks\.(\d)", lambda match: f"up.{top - int(match[1])}", name)
        name = re.sub(r"(down|up)samplers\.0", r"\1sample", name).replace("down_blocks", "down")
        name = name.replace("resnets", "block").replace("conv_shortcut", "nin_shortcut")
        yield name.replace("conv_norm_out", "norm_out"), tensor
