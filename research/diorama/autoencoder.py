"""Stage 1: the autoencoder, trained on crops around the subject and then on whole frames."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from research.diorama.architecture import IMAGE_SIZE, NUM_FRAMES
from research.diorama.corpus import Corpus, to_pixels
from research.diorama.fit import BatchSource, Stage

CROP = 32


class Reconstruction(nn.Module):
    """L1 + L2 + edges of the reconstruction, and a light KL term that keeps the latents bounded."""

    def __init__(self, vae: AutoencoderKL, kl_weight: float = 1e-3) -> None:
        super().__init__()
        self.vae = vae
        self.kl_weight = kl_weight

    def forward(self, pixels: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast(pixels.device.type, torch.bfloat16):
            posterior = self.vae.encode(pixels).latent_dist
            latents = posterior.mean + posterior.std * noise
            decoded = self.vae.decode(latents).sample
        error = decoded.float() - pixels
        edges = sum(error.diff(dim=axis).abs().mean() for axis in (-1, -2))
        loss: Tensor = error.abs().mean() + 2 * error.square().mean() + edges
        kl: Tensor = posterior.kl().mean() / 64
        return loss + self.kl_weight * kl


def crop_batch(corpus: Corpus, stage: Stage, frames: int, whole_from: float, device: torch.device) -> BatchSource:
    """Batches of 32x32 crops near the subject; from the share ``whole_from`` of the steps on, of whole frames."""

    def batch(step: int, generator: torch.Generator) -> tuple[Tensor | int, ...]:
        rng = np.random.default_rng(generator.initial_seed())
        whole = step >= whole_from * stage.steps
        count = frames // 4 if whole else frames
        clips = np.sort(rng.integers(len(corpus), size=count))
        moments = rng.integers(NUM_FRAMES, size=count)
        images = corpus.frames[clips, moments]
        if not whole:
            images = _crop(images, corpus.centres[clips, moments] + rng.uniform(-10, 10, (count, 2)))
        pixels = to_pixels(images, device)
        size = pixels.shape[-1] // 8
        noise = torch.randn((count, 8, size, size), generator=generator, device=device)
        return pixels, noise

    return batch


def _crop(images: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The 32x32 pixels around each centre (x, y), moved inside the image where they would leave it."""
    corners = np.clip(np.rint(centres - CROP / 2), 0, IMAGE_SIZE - CROP).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(images, (CROP, CROP), axis=(2, 3))
    return windows[np.arange(len(images)), :, corners[:, 1], corners[:, 0]]


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, corpus: Corpus, device: torch.device, clips: int = 256) -> None:
    """Fold zero mean and unit deviation of each latent channel into the two 1x1 convolutions around the latents."""
    stride = max(len(corpus) // clips, 1)
    pixels = to_pixels(np.ascontiguousarray(corpus.frames[::stride, 0]), device)
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(64)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    quant.bias[:channels] = (quant.bias[:channels] - mean) / deviation
    quant.weight[:channels] /= deviation[:, None, None, None]
    quant.bias[channels:] -= 2 * deviation.log()
    post.bias += F.conv2d(mean[None, :, None, None], post.weight)[0, :, 0, 0]
    post.weight *= deviation[None, :, None, None]


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, corpus: Corpus, device: torch.device, clips: int = 128) -> float:
    """Peak signal-to-noise ratio in dB over the first frames of evenly spaced clips."""
    stride = max(len(corpus) // clips, 1)
    pixels = to_pixels(np.ascontiguousarray(corpus.frames[::stride, NUM_FRAMES // 2]), device)
    decoded = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in pixels.split(64)])
    error = F.mse_loss(decoded.clamp(-1, 1), pixels)
    return float(10 * torch.log10(4 / error))
