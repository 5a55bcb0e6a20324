"""Where each parameter of the pipeline's models lies in VideoCrafter2's published checkpoint. No torch.

The checkpoint holds the UNet under names of its own (`keys.py`), a Stable Diffusion autoencoder under those of latent
diffusion, OpenCLIP's text model, and the buffers of the noise schedule.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from bytheway.models.videocrafter.keys import official_name

UNET: Final = "model.diffusion_model."
VAE: Final = "first_stage_model."
TEXT: Final = "cond_stage_model.model."

# The noise schedule: the scheduler computes it from its configuration.
_SCHEDULE: Final = {
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "scale_arr",
}
# OpenCLIP's head, for comparing texts with pictures.
_TEXT_HEAD: Final = {f"{TEXT}text_projection", f"{TEXT}logit_scale"}

_TEXT_OUTSIDE_LAYERS: Final = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_TEXT_LAYER: Final = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_QUERY_KEY_VALUE: Final = ("q_proj", "k_proj", "v_proj")

_VAE_ATTENTION: Final = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


class Part(NamedTuple):
    """A tensor of the checkpoint, or the `nth` (from 0) of `of` equal parts of its first axis."""

    key: str
    nth: int = 0
    of: int = 1


def left_out(key: str, text_layers: int) -> bool:
    """Whether the checkpoint has this tensor and the pipeline no use for it.

    That is the noise schedule, OpenCLIP's head, and what comes after the layer whose output VideoCrafter2 reads.

    Args:
        key: in the checkpoint.
        text_layers: of the pipeline's text encoder; OpenCLIP has one more.
    """
    return key in _SCHEDULE or key in _TEXT_HEAD or key.startswith(f"{TEXT}transformer.resblocks.{text_layers}.")


def text_parts(names: Iterable[str]) -> dict[str, Part]:
    """Where the parameters of transformers' `CLIPTextModel` lie, by their names there.

    >>> text_parts(["encoder.layers.3.self_attn.k_proj.bias"])["encoder.layers.3.self_attn.k_proj.bias"]
    Part(key='cond_stage_model.model.transformer.resblocks.3.attn.in_proj_bias', nth=1, of=3)
    """
    return {name: _text_part(name) for name in names}


def vae_parts(names: Iterable[str]) -> dict[str, Part]:
    """Where the parameters of diffusers' `AutoencoderKL` lie, by their names there.

    >>> vae_parts(["decoder.up_blocks.3.resnets.0.conv1.bias"])["decoder.up_blocks.3.resnets.0.conv1.bias"]
    Part(key='first_stage_model.decoder.up.0.block.0.conv1.bias', nth=0, of=1)
    """
    names = list(names)
    top = max(int(match[1]) for name in names if (match := re.match(r"decoder\.up_blocks\.(\d+)\.", name)))
    return {name: Part(VAE + _vae_name(name, top)) for name in names}


def unet_parts(names: Iterable[str], layers_per_block: int) -> dict[str, Part]:
    """Where the parameters of `VideoCrafterUNet` lie, by their names there."""
    return {name: Part(UNET + official_name(name, layers_per_block)) for name in names}


def _text_part(name: str) -> Part:
    if name in _TEXT_OUTSIDE_LAYERS:
        return Part(TEXT + _TEXT_OUTSIDE_LAYERS[name])
    _, _, layer, inner = name.split(".", 3)
    block = f"{TEXT}transformer.resblocks.{layer}"
    module, _, kind = inner.rpartition(".")
    if module in _TEXT_LAYER:
        return Part(f"{block}.{_TEXT_LAYER[module]}.{kind}")
    projection = module.removeprefix("self_attn.")
    return Part(f"{block}.attn.in_proj_{kind}", _QUERY_KEY_VALUE.index(projection), len(_QUERY_KEY_VALUE))


def _vae_name(name: str, top: int) -> str:
    """Latent diffusion counts the middle's blocks from 1, and the decoder's levels from the finest (`top` is last)."""
    if match := re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", name):
        return f"{match[1]}.mid.attn_1.{_VAE_ATTENTION[match[2]]}.{match[3]}"
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    name = re.sub(r"up_blocks\.(\d)", lambda match: f"up.{top - int(match[1])}", name)
    name = re.sub(r"(down|up)samplers\.0", r"\1sample", name).replace("down_blocks", "down").replace("resnets", "block")
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
