"""How much of a clip is left under the noise in a step: whether its layout is still to be decided there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_REFERENCE_SIDE: Final = 64  # latent pixels: Stable Diffusion's at 512x512


@dataclass(frozen=True)
class ActiveNoise:
    """The log-SNR of the latents in the first and the last active step, for latents as wide as Stable Diffusion's.

    At the same noise small latents have lost more of a picture: neighbours that are alike average it out. So the
    log-SNR counts less by 2 log(64 / side) (Hoogeboom et al., simple diffusion, arXiv 2301.11093, section 3.1).
    """

    first: float
    last: float


def active_noise(scheduler: Any, timesteps: Sequence[float], latent_size: tuple[int, int]) -> ActiveNoise | None:
    """The noise of the active steps; None where the scheduler does not tell it.

    Args:
        scheduler: of diffusers.
        timesteps: those of the active steps, in their order.
        latent_size: width and height of the latents.
    """
    first, last = (_log_snr(scheduler, timestep) for timestep in (timesteps[0], timesteps[-1]))
    return None if first is None or last is None else _for_size(first, last, latent_size)


def noise_of_sigmas(sigmas: Sequence[float], latent_size: tuple[int, int]) -> ActiveNoise:
    """The noise of active steps in which sigma is known.

    Args:
        sigmas: those of the active steps, in their order: the model is given clip + sigma * noise, but for a scale.
        latent_size: width and height of the latents.
    """
    return _for_size(-2 * math.log(sigmas[0]), -2 * math.log(sigmas[-1]), latent_size)


def _for_size(first: float, last: float, latent_size: tuple[int, int]) -> ActiveNoise:
    shift = 2 * math.log(math.sqrt(math.prod(latent_size)) / _REFERENCE_SIDE)
    return ActiveNoise(first + shift, last + shift)


def _log_snr(scheduler: Any, timestep: float) -> float | None:
    config = scheduler.config
    if config.get("timestep_type") == "continuous":  # Stable Video Diffusion: a quarter of the log of sigma
        return -8 * timestep
    if config.get("use_flow_sigmas") or type(scheduler).__name__.startswith("FlowMatch"):
        share = min(timestep / config["num_train_timesteps"], 1 - 1e-6)
        return 2 * math.log((1 - share) / share) if share > 0 else math.inf
    kept = getattr(scheduler, "alphas_cumprod", None)
    if kept is None:
        return None
    signal = float(kept[min(round(timestep), len(kept) - 1)])
    return math.log(max(signal, 1e-12) / max(1 - signal, 1e-12))
