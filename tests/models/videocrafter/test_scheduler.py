"""The sampler against the official one's trajectory, and against its own definition."""

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from bytheway.models.videocrafter import VideoCrafterScheduler


def test_follows_the_official_trajectory(fixtures):
    expected = load_file(fixtures / "sampler.safetensors")
    run = {name.removeprefix("n50_eta1."): tensor for name, tensor in expected.items()}
    scheduler = VideoCrafterScheduler()
    assert_close(scheduler.alphas_cumprod, expected["alphas_cumprod"], rtol=1e-5, atol=0)
    assert_close(scheduler.signal_scales, expected["scale_arr"], rtol=1e-6, atol=0)
    scheduler.set_timesteps(50)
    assert scheduler.timesteps.tolist() == run["timesteps"].tolist()

    latents = run["x"][0]
    for step, timestep in enumerate(scheduler.timesteps):
        noise = run["eps_uncond"][step] + 12 * (run["eps_cond"][step] - run["eps_uncond"][step])
        latents, signal = scheduler.step(
            noise, timestep, latents, eta=1.0, variance_noise=run["noise"][step], return_dict=False
        )
        assert_close(latents, run["x"][step + 1], rtol=1e-4, atol=1e-4)
        assert_close(signal, run["x0"][step], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 4, 50, 333])
def test_with_the_true_noise_every_step_stays_on_the_training_path(steps):
    """Without fresh noise, a perfect prediction leads from x_t to x_prev of the same video and the same noise."""
    generator = torch.Generator().manual_seed(0)
    video, noise = torch.randn(2, 1, 4, 2, 3, 3, generator=generator, dtype=torch.float64)
    scheduler = VideoCrafterScheduler()
    scheduler.set_timesteps(steps)
    latents = scheduler.add_noise(video, noise, scheduler.timesteps[:1])
    for step, timestep in enumerate(scheduler.timesteps):
        out = scheduler.step(noise, timestep, latents)
        assert_close(out.pred_original_sample, video, rtol=0, atol=1e-4)
        latents = out.prev_sample
        if step == len(scheduler.timesteps) // 2 and step + 1 < steps:
            expected = scheduler.add_noise(video, noise, scheduler.timesteps[step + 1 : step + 2])
            assert_close(latents, expected, rtol=0, atol=1e-4)
    assert_close(latents, scheduler.add_noise(video, noise, torch.tensor([0])), rtol=0, atol=1e-4)


def test_noise_is_added_to_the_scaled_signal_of_each_video():
    scheduler = VideoCrafterScheduler()
    video, noise = torch.ones(3, 4, 2, 1, 1), torch.zeros(3, 4, 2, 1, 1)
    noisy = scheduler.add_noise(video, noise, torch.tensor([0, 399, 999]))
    rates = scheduler.alphas_cumprod[[0, 399, 999]].sqrt() * torch.tensor([1, 0.7, 0.7])
    assert_close(noisy, rates.reshape(3, 1, 1, 1, 1) * video)


def test_saved_and_loaded_again(tmp_path):
    VideoCrafterScheduler(signal_scale=0.8, scale_steps=100).save_pretrained(tmp_path)
    loaded = VideoCrafterScheduler.from_pretrained(tmp_path)
    assert type(loaded) is VideoCrafterScheduler
    assert loaded.signal_scales[[0, 99, 500]].tolist() == pytest.approx([1, 0.8, 0.8])
    assert not loaded.config.clip_sample
