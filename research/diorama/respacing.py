"""Stage 4: the model on the schedule with which it is sampled, whose steps lie where a clip is decided.

The first stages want noise through which there is something to see. But half of the even steps of their schedule lie
above a log-SNR of 2.7, where next to nothing is left to decide, and the first of 25 goes from pure noise at once to
-2.8, where it can be read already how much a clip moves.
"""

from __future__ import annotations

import numpy as np
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
    wanted, known = (-compute_snr(scheduler, timesteps).log().numpy() for scheduler in (sampled, trained))
    return torch.from_numpy(np.interp(wanted, known, timesteps.numpy())).float()
