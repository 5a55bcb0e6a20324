"""The recipe from nothing to the exported models, each stage two steps long."""

from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline, MotionAdapter, UNetMotionModel

from bytheway.models import load
from research.diorama import architecture, sample
from research.diorama.corpus import SHARD
from research.diorama.recipe import Recipe, Trainer


def test_the_recipe_ends_with_two_models_on_the_sampling_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "STEPS", 1)
    recipe = Recipe(tmp_path / "run", tmp_path / "shipped", SHARD, 2, 2, 2, 2, 2)
    Trainer(recipe, 0, 1, torch.device("cpu")).run()

    stages = ("autoencoder", "spatial", "motion", "respaced", "early")
    written = {stage: (recipe.out / stage / "model").stat().st_mtime_ns for stage in stages}
    motion, respaced = (
        UNetMotionModel.from_pretrained(recipe.out / stage / "model") for stage in ("motion", "respaced")
    )
    first, again = (unet.time_embedding.linear_1.weight for unet in (motion, respaced))
    assert (first - again).abs().max() > 0.02, "more than two steps of training can change: it is fitted anew"

    pipe = load(str(recipe.shipped), dtype="float32")
    assert isinstance(pipe, AnimateDiffPipeline)
    betas = architecture.shifted_cosine_betas(architecture.SAMPLED_SHIFT)
    assert pipe.scheduler.config.trained_betas == pytest.approx(betas)
    for name, weight in respaced.state_dict().items():
        assert torch.allclose(pipe.unet.state_dict()[name], weight, atol=1e-2, rtol=1e-3), name
    early = MotionAdapter.from_pretrained(tmp_path / "shipped_early").state_dict()
    assert any(not torch.allclose(weight, pipe.unet.state_dict()[name], atol=0.01) for name, weight in early.items())

    Trainer(recipe, 0, 1, torch.device("cpu")).run()
    assert written == {stage: (recipe.out / stage / "model").stat().st_mtime_ns for stage in stages}
