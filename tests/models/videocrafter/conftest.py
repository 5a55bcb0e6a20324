"""The tensors of VideoCrafter's own code, and a tiny pipeline of ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from bytheway.models.videocrafter import VideoCrafterPipeline, VideoCrafterScheduler, VideoCrafterUNet
from tests import tiny

FIXTURES = Path(__file__).parents[4] / "shared" / "fixtures" / "videocrafter2"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Inputs, outputs and names of the official code."""
    if not FIXTURES.is_dir():
        pytest.skip("the tensors of VideoCrafter's code (../shared/fixtures) are not beside this tree")
    return FIXTURES


@pytest.fixture(scope="session")
def make_unet() -> Callable[..., VideoCrafterUNet]:
    """A UNet with seeded random weights: four levels like VideoCrafter2's, with 2, 4, 8 and 8 heads."""

    def make(**changes: Any) -> VideoCrafterUNet:
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

    return make


@pytest.fixture(scope="session")
def make_pipeline(make_unet: Callable[..., VideoCrafterUNet]) -> Callable[[], VideoCrafterPipeline]:
    """A fresh pipeline, latents half the size of the frames, prompts of 16 tokens; all have equal weights."""

    def make() -> VideoCrafterPipeline:
        tokenizer = tiny.make_tokenizer()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            vae = AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=4,
                norm_num_groups=4,
            )
            text_encoder = tiny.make_text_encoder(tokenizer)
        pipe = VideoCrafterPipeline(vae.eval(), text_encoder, tokenizer, make_unet(), VideoCrafterScheduler())
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return make


@pytest.fixture(scope="module")
def pipe(make_pipeline: Callable[[], VideoCrafterPipeline]) -> VideoCrafterPipeline:
    """For tests that leave it as it is."""
    return make_pipeline()
