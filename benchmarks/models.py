"""Models at their published widths with random weights, made on the spot: nothing is downloaded.

What a step costs depends on shapes alone. Prompts are random embeddings, and a run ends at its latents: there is no
text encoder and no VAE to hide an overhead behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    UNetMotionModel,
)
from torch import nn

from bytheway.models import load, profile_of
from bytheway.models.videocrafter import VideoCrafterPipeline, VideoCrafterScheduler, VideoCrafterUNet

PROMPT: Final = "a red ball bouncing on grass"


@dataclass(frozen=True)
class Scale:
    """What a case is run at.

    Attributes:
        size: height and width in pixels; of diorama its own.
        frames: of the clip.
        dtype: of weights and activations.
        widths: channels of the levels of a UNet, finest first; of a transformer, heads and layers.
        steps: denoising steps of a measured run; 1: single steps are measured, of which a whole run is reckoned.
        rounds, seconds: of the runs, see `benchmarks.timing.interleave`.
    """

    size: tuple[int, int]
    frames: int
    dtype: torch.dtype
    widths: tuple[int, ...]
    steps: int
    rounds: int
    seconds: float

    def __str__(self) -> str:
        height, width = self.size
        made_of = ""
        if len(self.widths) == 2:
            made_of = ", {} heads, {} layers".format(*self.widths)
        elif self.widths:
            made_of = f", widths {' '.join(map(str, self.widths))}"
        return f"{self.frames} frames of {height}x{width}, {str(self.dtype).removeprefix('torch.')}{made_of}"


@dataclass(frozen=True)
class Subject:
    """A pipeline ready to run, and the arguments of its call."""

    pipe: Any
    call: dict[str, Any]

    def run(self, steps: int, **settings: Any) -> Any:
        """The frames of a run, from the same noise each time."""
        generator = torch.Generator().manual_seed(0)
        return self.pipe(num_inference_steps=steps, generator=generator, **self.call | settings).frames

    def weight_bytes(self) -> int:
        """Bytes of the weights of all models of the pipeline."""
        models = [part for part in self.pipe.components.values() if isinstance(part, nn.Module)]
        return sum(tensor.nbytes for model in models for tensor in (*model.parameters(), *model.buffers()))


def make_diorama(scale: Scale, device: torch.device) -> Subject:
    """The packaged model as it is shipped, from the prompt to the frames."""
    pipe = _ready(load("diorama", device=str(device)))
    defaults = profile_of(pipe).defaults
    call = {"num_frames": defaults.num_frames, "guidance_scale": defaults.guidance_scale, "output_type": "pt"}
    return Subject(pipe, {"prompt": PROMPT, **call})


def make_animatediff(scale: Scale, device: torch.device) -> Subject:
    """AnimateDiff on Stable Diffusion 1.5: 0.86 billion parameters and 0.45 of the motion modules."""
    unet = _random(partial(UNetMotionModel, block_out_channels=scale.widths, cross_attention_dim=768), scale, device)
    scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=False)
    pipe = AnimateDiffPipeline(
        vae=None, text_encoder=None, tokenizer=None, unet=unet, motion_adapter=None, scheduler=scheduler
    )
    return Subject(_ready(pipe), _call(scale, device, tokens=77, channels=768))


def make_videocrafter(scale: Scale, device: torch.device) -> Subject:
    """VideoCrafter2's UNet, 1.4 billion parameters; the VAE only tells how many pixels a latent is wide."""
    unet = _random(partial(VideoCrafterUNet, block_out_channels=scale.widths), scale, device)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(block_out_channels=(8,) * 4, norm_num_groups=4, **blocks)
    pipe = VideoCrafterPipeline(vae, None, None, unet, VideoCrafterScheduler())
    return Subject(_ready(pipe), _call(scale, device, tokens=77, channels=1024))


def make_cogvideox(scale: Scale, device: torch.device) -> Subject:
    """CogVideoX-2B's transformer with fewer layers: joint attention over text, space and time."""
    heads, layers = scale.widths
    height, width = scale.size
    make = partial(
        CogVideoXTransformer3DModel,
        num_attention_heads=heads,
        num_layers=layers,
        sample_height=height // 8,
        sample_width=width // 8,
        sample_frames=scale.frames,
    )
    transformer = _random(make, scale, device)
    pipe = CogVideoXPipeline(None, None, None, transformer, CogVideoXDDIMScheduler())
    return Subject(_ready(pipe), _call(scale, device, tokens=226, channels=4096))


def _random(make: Any, scale: Scale, device: torch.device) -> Any:
    """A model in inference mode, its weights made where and as they are used; equal scales give equal weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(scale.dtype)
    try:
        with torch.random.fork_rng(), torch.device(device):
            torch.manual_seed(0)
            return make().eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def _call(scale: Scale, device: torch.device, tokens: int, channels: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    prompt, negative = torch.randn(2, 1, tokens, channels, generator=generator).to(device, scale.dtype)
    height, width = scale.size
    return {
        "prompt_embeds": prompt,
        "negative_prompt_embeds": negative,
        "num_frames": scale.frames,
        "height": height,
        "width": width,
        "guidance_scale": 7.5,
        "output_type": "latent",
    }


def _ready(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe
