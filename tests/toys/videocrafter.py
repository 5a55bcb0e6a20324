"""A tiny VideoCrafter2, built from nothing with seeded random weights."""

from typing import Any

import torch

from bytheway.models.videocrafter import VideoCrafterPipeline, VideoCrafterScheduler, VideoCrafterUNet
from tests.toys import tiny


def make_unet(**changes: Any) -> VideoCrafterUNet:
    """A UNet with seeded random weights: four levels like VideoCrafter2's, with 2, 4, 8 and 8 heads."""
    settings: dict[str, Any] = {
        "sample_size": (8, 8),
        "block_out_channels": (8, 16, 32, 32),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = VideoCrafterUNet(**settings | changes).eval().requires_grad_(False)
    for name, parameter in unet.named_parameters():
        # Maps that are far from uniform, so that the method has something to act on.
        if "temp_attentions" in name and name.endswith(("to_q.weight", "to_k.weight")):
            parameter.mul_(4)
        # Zero at the start of a training: the temporal convolutions would do nothing.
        if "temp_convs" in name and "conv4" in name:
            torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(1))
    return unet


def make_pipeline(vae_levels: int = 2, **changes: Any) -> VideoCrafterPipeline:
    """A fresh pipeline, prompts of 16 tokens; all have equal weights.

    Args:
        vae_levels: see `tests.tiny.make_vae`.
        changes: to the UNet.
    """
    tokenizer = tiny.make_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = tiny.make_vae(vae_levels)
        text_encoder = tiny.make_text_encoder(tokenizer)
    pipe = VideoCrafterPipeline(vae.eval(), text_encoder, tokenizer, make_unet(**changes), VideoCrafterScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe
