"""VideoCrafter2's sampler: DDIM for a model that was trained with a scaled-down signal."""

import torch
from diffusers import DDIMScheduler
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from torch import Tensor


class VideoCrafterScheduler(DDIMScheduler):  # type: ignore[misc]
    """DDIM (arXiv 2010.02502) with VideoCrafter2's signal scale.

    VideoCrafter2 was trained on x_t = sqrt(abar_t) s_t x_0 + sqrt(1 - abar_t) eps: the signal fades from full strength
    (s = 1) to `signal_scale` over the first `scale_steps` timesteps and stays there. The model predicts eps, and the
    timesteps agree with those of VideoCrafter's own sampler where the number of steps divides `num_train_timesteps`.

    Args:
        num_train_timesteps, beta_start, beta_end, beta_schedule, steps_offset, timestep_spacing: as of `DDIMScheduler`,
            with VideoCrafter2's values as defaults.
        signal_scale: s at the noisy end, in (0, 1].
        scale_steps: timesteps over which s falls from 1, linearly.

    Attributes:
        signal_scales: s_t, (num_train_timesteps,).
    """

    # What a saved pipeline names as the place to find the class: not this file, which may be split or moved.
    __module__ = "bytheway.models.videocrafter"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "scaled_linear",
        steps_offset: int = 1,
        timestep_spacing: str = "leading",
        signal_scale: float = 0.7,
        scale_steps: int = 400,
    ) -> None:
        super().__init__(
            num_train_timesteps=num_train_timesteps,
            beta_start=beta_start,
            beta_end=beta_end,
            beta_schedule=beta_schedule,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=steps_offset,
            timestep_spacing=timestep_spacing,
        )
        fading = torch.linspace(1, signal_scale, scale_steps)
        constant = torch.full((num_train_timesteps,), signal_scale)
        self.signal_scales = torch.cat([fading, constant])[:num_train_timesteps]

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | int,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: torch.Generator | list[torch.Generator] | None = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[Tensor, Tensor]:
        """The latents one step less noisy; arguments and result are those of `DDIMScheduler.step`.

        What plain DDIM takes for x_0 is s_t x_0; put back into the latents it has to be s_prev x_0.
        """
        previous, scaled_signal = super().step(
            model_output,
            timestep,
            sample,
            eta,
            use_clipped_model_output,
            generator=generator,
            variance_noise=variance_noise,
            return_dict=False,
        )
        now = int(timestep)
        # As in DDIM, the last step leads to the first timestep's noise level.
        then = max(now - self.config.num_train_timesteps // self.num_inference_steps, 0)
        scale = float(self.signal_scales[now])
        scale_then = float(self.signal_scales[then])
        signal_rate = float(self.alphas_cumprod[then]) ** 0.5
        previous = previous + signal_rate * (scale_then / scale - 1) * scaled_signal
        signal = scaled_signal / scale
        if not return_dict:
            return previous, signal
        return DDIMSchedulerOutput(prev_sample=previous, pred_original_sample=signal)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t of clean latents, as in the training: the signal scaled down, then noise as in `DDIMScheduler`.

        Args:
            original_samples, noise: (batch, ...).
            timesteps: (batch,), or (1,) for all.
        """
        scales = self.signal_scales.to(original_samples)[timesteps.to(original_samples.device)].flatten()
        scales = scales.reshape(-1, *[1] * (original_samples.ndim - 1))
        noisy: Tensor = super().add_noise(scales * original_samples, noise, timesteps)
        return noisy
