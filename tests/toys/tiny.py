"""A tiny AnimateDiff pipeline, built from nothing with seeded random weights: no network, no files.

Real classes at toy size: four levels like Stable Diffusion 1.5, two of 32 and two of 64 channels, 4 latent channels,
latents half the size of the frames. The weights of the temporal attention are scaled up, so that its maps are far from
uniform and the method has something to act on.
"""

from typing import Any

import torch
from diffusers import AnimateDiffPipeline, AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WORDS = ("a", "red", "blue", "ball", "star", "bounces", "turns", "on", "grass", "snow")


def make_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows the letters and ten words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts[:2] = ["".join(parts[:2])]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges)]
    vocabulary = {
        token: index for index, token in enumerate([*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"])
    }
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=16)


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def make_vae(levels: int = 2) -> AutoencoderKL:
    """A VAE whose latents are smaller than the frames by a factor of 2 ** (levels - 1)."""
    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=4,
    )


def make_pipeline(
    *,
    channels: tuple[int, ...] = (32, 32, 64, 64),
    layers: int = 1,
    heads: int = 4,
    cross_attention: bool = True,
    conv_in_channels: int | None = None,
    vae_levels: int = 2,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    pipeline_class: type = AnimateDiffPipeline,
) -> Any:
    """A fresh pipeline; equal arguments give equal weights.

    Args:
        channels: of the UNet's levels, finest first; their number is the number of levels.
        layers: residual layers of a down block, one motion module each; an up block has one more.
        heads: of the temporal attention.
        cross_attention: text conditioning in all but the coarsest level (like Stable Diffusion 1.5), or only there.
        conv_in_channels: of the motion adapter's own first convolution, where it brings one, as PIA's does.
        vae_levels: see `make_vae`.
    """
    levels = len(channels)
    attended = [cross_attention] * (levels - 1) + [False]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tokenizer()
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=channels,
            layers_per_block=layers,
            cross_attention_dim=32,
            down_block_types=tuple("CrossAttnDownBlock2D" if text else "DownBlock2D" for text in attended),
            up_block_types=tuple("CrossAttnUpBlock2D" if text else "UpBlock2D" for text in reversed(attended)),
            attention_head_dim=4,
            norm_num_groups=8,
        )
        adapter = MotionAdapter(
            block_out_channels=channels,
            motion_layers_per_block=layers,
            motion_norm_num_groups=8,
            motion_num_attention_heads=heads,
            motion_max_seq_length=32,
            conv_in_channels=conv_in_channels,
        )
        for name, parameter in adapter.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight")):
                parameter.data.mul_(4)
        vae = make_vae(vae_levels)
        pipe = pipeline_class(
            vae=vae.eval(),
            text_encoder=make_text_encoder(tokenizer),
            tokenizer=tokenizer,
            unet=unet.eval(),
            motion_adapter=adapter,
            scheduler=DDIMScheduler(
                beta_schedule="linear", clip_sample=False, timestep_spacing="linspace", prediction_type="v_prediction"
            ),
        )
    pipe.unet.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe if dtype == torch.float32 else pipe.to(dtype)


def generate(pipe: Any, prompt: str | list[str] = "a red ball bounces", **changes: Any) -> torch.Tensor:
    """The latents of a short, seeded run, (videos, 4, frames, height, width)."""
    settings: dict[str, Any] = {
        "num_frames": 8,
        "height": 16,
        "width": 16,
        "num_inference_steps": 2,
        "guidance_scale": 5.0,
        "output_type": "latent",
    }
    settings |= changes
    settings.setdefault("generator", torch.Generator().manual_seed(0))
    return pipe(prompt, **settings).frames
