"""A tiny pipeline's tensors as VideoCrafter2's published checkpoint lays them out."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from bytheway.models.videocrafter.keys import official_name
from tests.models.stable_diffusion_layout import vae_tensors

Tensors = dict[str, torch.Tensor]

SCHEDULE = {"betas": 1000, "alphas_cumprod": 1000, "posterior_mean_coef2": 1000, "scale_arr": 1400}


def use_opens_text_encoder(pipe: Any) -> Any:
    """Gives the pipeline a text encoder as OpenCLIP's are (exact GELU), with every parameter random."""
    config = pipe.text_encoder.config.to_dict() | {"hidden_act": "gelu", "architectures": ["CLIPTextModel"]}
    encoder = CLIPTextModel(CLIPTextConfig(**config)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for parameter in encoder.parameters():
        parameter.normal_(std=0.2, generator=generator)
    pipe.register_modules(text_encoder=encoder)
    return pipe


def configurations(pipe: Any) -> dict[str, dict[str, Any]]:
    """What `convert.PUBLISHED` would hold if this were the published model."""
    return {
        "unet": {name: value for name, value in pipe.unet.config.items() if not name.startswith("_")},
        "vae": {name: value for name, value in pipe.vae.config.items() if not name.startswith("_")},
        "text_encoder": pipe.text_encoder.config.to_dict(),
    }


def checkpoint(pipe: Any) -> Tensors:
    """UNet, autoencoder, text model with its head and last layer, and some of the schedule's buffers."""
    return {
        **{f"model.diffusion_model.{name}": tensor for name, tensor in _unet(pipe.unet)},
        **{f"first_stage_model.{name}": tensor for name, tensor in vae_tensors(pipe.vae)},
        **{f"cond_stage_model.model.{name}": tensor for name, tensor in _text(pipe.text_encoder)},
        **{name: torch.zeros(length) for name, length in SCHEDULE.items()},
    }


def _unet(unet: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in unet.state_dict().items():
        pointwise = name in ("transformer_in.proj_in.weight", "transformer_in.proj_out.weight")
        yield official_name(name, unet.config.layers_per_block), tensor[..., None] if pointwise else tensor


def _text(encoder: Any) -> Iterator[tuple[str, torch.Tensor]]:
    tensors = encoder.state_dict()
    width = encoder.config.hidden_size
    yield "positional_embedding", tensors["embeddings.position_embedding.weight"]
    yield "token_embedding.weight", tensors["embeddings.token_embedding.weight"]
    yield "text_projection", torch.eye(width)
    yield "logit_scale", torch.tensor(4.6)
    for kind in ("weight", "bias"):
        yield f"ln_final.{kind}", tensors[f"final_layer_norm.{kind}"]
        for layer in range(encoder.config.num_hidden_layers):
            ours, theirs = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
            yield f"{theirs}.ln_1.{kind}", tensors[f"{ours}.layer_norm1.{kind}"]
            yield f"{theirs}.ln_2.{kind}", tensors[f"{ours}.layer_norm2.{kind}"]
            yield f"{theirs}.mlp.c_fc.{kind}", tensors[f"{ours}.mlp.fc1.{kind}"]
            yield f"{theirs}.mlp.c_proj.{kind}", tensors[f"{ours}.mlp.fc2.{kind}"]
            yield f"{theirs}.attn.out_proj.{kind}", tensors[f"{ours}.self_attn.out_proj.{kind}"]
            projections = [tensors[f"{ours}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            yield f"{theirs}.attn.in_proj_{kind}", torch.cat(projections)
    # The layer that VideoCrafter2 does not run.
    yield f"transformer.resblocks.{encoder.config.num_hidden_layers}.ln_1.weight", torch.ones(width)
