"""A model of diorama's shape at toy size and untrained readers, in folders."""

from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline, AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from research.diorama.__main__ import SHIPPED
from research.diorama.judge import WEIGHTS as JUDGE
from research.diorama.judge import Judge
from research.diorama.outlines import WEIGHTS as OUTLINES
from research.diorama.outlines import Outlines

CHANNELS = (16, 16, 16)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three levels on 8x8 latents of frames of 64x64, with diorama's own words and schedule; random weights."""
    folder = tmp_path_factory.mktemp("model") / "diorama"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKL(
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
            mid_block_add_attention=False,
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=CHANNELS,
            down_block_types=("CrossAttnDownBlock2D",) * 3,
            up_block_types=("CrossAttnUpBlock2D",) * 3,
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=2,
            cross_attention_dim=96,
        )
        adapter = MotionAdapter(
            block_out_channels=CHANNELS,
            motion_layers_per_block=1,
            motion_num_attention_heads=2,
            motion_norm_num_groups=4,
            use_motion_mid_block=True,
        )
        for name, parameter in adapter.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight")):
                parameter.data.mul_(8)
            if "proj_out" in name:
                parameter.data.normal_(std=0.3)
    AnimateDiffPipeline(
        vae,
        CLIPTextModel.from_pretrained(SHIPPED / "text_encoder"),
        CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer"),
        unet,
        adapter,
        DDIMScheduler.from_pretrained(SHIPPED / "scheduler"),
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Judge()
        judge(torch.zeros(1, 16, 3, 64, 64))
        save_file(judge.state_dict(), folder / JUDGE)
        save_file(Outlines().state_dict(), folder / OUTLINES)
    return folder
