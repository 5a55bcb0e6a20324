"""Pipelines with two denoisers: each has sites of its own, and both are enhanced or none."""

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from torch import nn

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, remove_bytheway
from tests.apply.explicit import Watch, check_enhanced_sites
from tests.toys.joint import FACTORIES
from tests.toys.tiny import make_pipeline

ALWAYS = ByTheWayConfig(active_steps=1.0, tau=1)


class TwoStages(DiffusionPipeline):
    """One denoiser for the first half of the steps, another for the second."""

    def __init__(self, unet, transformer, scheduler):
        super().__init__()
        self.register_modules(unet=unet, transformer=transformer, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, steps=2):
        self.scheduler.set_timesteps(steps)
        latents = torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        text = torch.zeros(4, 3, 32)
        for index, timestep in enumerate(self.scheduler.timesteps):
            denoiser = self.unet if index < steps // 2 else self.transformer
            predicted = denoiser(latents, timestep, text).sample
            latents = self.scheduler.step(predicted, timestep, latents).prev_sample
        return latents


def denoiser(layers):
    return make_pipeline(channels=(32, 32), layers=layers, cross_attention=False).unet


@pytest.fixture
def pipe():
    scheduler = DDIMScheduler(clip_sample=False, prediction_type="v_prediction")
    return TwoStages(denoiser(1), denoiser(2), scheduler)


def test_both_are_enhanced_by_sites_of_their_own(pipe):
    with (
        enhanced(pipe, ALWAYS, classifier_free_guidance=False),
        Watch(pipe.unet, ALWAYS) as first,
        Watch(pipe.transformer, ALWAYS) as second,
    ):
        pipe()
    assert len(first.seen) < len(second.seen)
    for module, watch in ((pipe.unet, first), (pipe.transformer, second)):
        assert check_enhanced_sites(module, watch.seen, ALWAYS, {"up_blocks.0": (4, 4), "up_blocks.1": (8, 8)}, [0]) > 2


def test_a_refusal_of_the_second_leaves_the_first_untouched(pipe):
    before = {path: dict(vars(module)) for path, module in pipe.unet.named_modules()}
    pipe.register_modules(transformer=nn.Linear(1, 1))
    with pytest.raises(ByTheWayError, match="no video denoiser"):
        apply_bytheway(pipe, ALWAYS)
    assert {path: vars(module) for path, module in pipe.unet.named_modules()} == before
    remove_bytheway(pipe)
    assert "_bytheway" not in vars(pipe)


def test_a_pipeline_without_its_denoiser(tiny_pipeline):
    tiny_pipeline.unet = None
    with pytest.raises(ByTheWayError, match="This AnimateDiffPipeline has no denoiser, its unet is None; load"):
        apply_bytheway(tiny_pipeline)
    pipe, _ = FACTORIES["wan"]()
    pipe.transformer = None
    with pytest.raises(ByTheWayError, match="This WanPipeline has no denoiser, its transformer is None"):
        apply_bytheway(pipe)
    with pytest.raises(ByTheWayError, match="is neither a video pipeline nor its denoiser"):
        apply_bytheway(object())
