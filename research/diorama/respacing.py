"""Stage 4: the model on the schedule with which it is sampled, whose steps lie where a clip is decided.

The first stages want noise through which there is something to see. But of even steps of their schedule most lie where
all is decided (half of them above a log-SNR of 2.7), and the first goes from pure noise at once to -2.8, past the noise
in which it is decided how much a clip moves (-6 to -3): clips then move about as much as the mean of them.
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler, UNetMotionModel
from diffusers.training_utils import compute_snr
from torch import Tensor


@torch.no_grad()
def respace(unet: UNetMotionModel, trained: DDIMScheduler, sampled: DDIMScheduler) -> None:
    """Refit the first layer of the time embedding, in place, from one schedule to the other.

    At each timestep of ``sampled`` it gives what it gave at the timestep of ``trained`` with the same noise, as far as
    one linear layer can (least squares over all timesteps); training does the rest.
    """
    first = unet.time_embedding.linear_1
    target = first(unet.time_proj(same_noise(trained, sampled)))
    features = unet.time_proj(torch.arange(len(sampled.alphas_cumprod)))
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    # The slowest waves look alike: without a cut they would be given weights of 100, one against the other.
    solution = torch.linalg.lstsq(features.double(), target.double(), rcond=0.01, driver="gelsd").solution.float()
    first.weight.copy_(solution[:-1].T)
    first.bias.copy_(solution[-1])


def same_noise(trained: DDIMScheduler, sampled: DDIMScheduler) -> Tensor:
    """For each timestep of ``sampled`` that of ``trained`` with the same SNR, not whole: (timesteps,)."""
    timesteps = torch.arange(len(trained.alphas_cumprod))
    noisier, noise = (-compute_snr(scheduler, timesteps).double().log() for scheduler in (sampled, trained))
    above = torch.searchsorted(noise, noisier).clamp(1, len(noise) - 1)
    share = (noisier - noise[above - 1]) / (noise[above] - noise[above - 1])
    same: Tensor = above - 1 + share
    return same.clamp(0, len(noise) - 1).float()
