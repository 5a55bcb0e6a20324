"""Pictures of what a model has learnt so far: contact sheets and loss curves."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    DDIMScheduler,
    MotionAdapter,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNetMotionModel,
)
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from bytheway.clips import as_frames, contact_sheet
from bytheway.files import written
from research.diorama.architecture import NUM_FRAMES

matplotlib.use("Agg")

SAMPLE_PROMPTS = (
    "a red ball bouncing on the grass",
    "a yellow car driving slowly to the right in the desert",
    "a person in blue walking to the left through the snow",
    "a white boat sailing right on the sea",
    "a blue dog running to the left at night",
    "a purple star spinning in a meadow",
    "a red bird flying fast to the right over the sea",
    "a yellow box standing still in the snow",
)
STEPS = 25
GUIDANCE = 2.0


def image_sheet(
    path: Path,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    scheduler: DDIMScheduler,
    variations: int = 4,
) -> None:
    """A row of single images for each sample prompt."""
    pipe = StableDiffusionPipeline(
        vae,
        text_encoder,
        tokenizer,
        unet,
        scheduler,
        None,
        None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    images = pipe(
        list(SAMPLE_PROMPTS),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        num_images_per_prompt=variations,
        generator=torch.Generator().manual_seed(0),
    ).images
    _draw([images[row * variations : (row + 1) * variations] for row in range(len(SAMPLE_PROMPTS))], path)


def clip_sheet(
    path: Path,
    unet: UNetMotionModel,
    adapter: MotionAdapter,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    scheduler: DDIMScheduler,
) -> None:
    """Frames of a clip for each sample prompt."""
    pipe = AnimateDiffPipeline(vae, text_encoder, tokenizer, unet, adapter, scheduler)
    pipe.set_progress_bar_config(disable=True)
    clips = pipe(
        list(SAMPLE_PROMPTS),
        num_frames=NUM_FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(0),
    ).frames
    _draw(clips, path)


def loss_curve(log: Path, path: Path) -> None:
    """Plot ``loss.jsonl`` on a logarithmic scale."""
    from matplotlib import pyplot as plt

    rows = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot([row["step"] for row in rows], [row["loss"] for row in rows], linewidth=1)
    axes.set(xlabel="step", ylabel="loss (running mean)", yscale="log", title=log.parent.name)
    axes.grid(alpha=0.3, which="both")
    with written(path) as draft:
        figure.savefig(draft, dpi=120)
    plt.close(figure)


def _draw(rows: list[list[Image.Image]], path: Path) -> None:
    """A row of pictures for each sample prompt."""
    clips = [as_frames(row) for row in rows]
    with written(path) as draft:
        contact_sheet(list(zip(SAMPLE_PROMPTS, clips, strict=True)), height=128).save(draft)
