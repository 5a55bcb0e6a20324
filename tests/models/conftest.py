"""Tiny models in every form that `load` takes: folders, hub cache, checkpoint files. No network."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from diffusers import MotionAdapter, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def publish(hub_cache: Path) -> Callable[[str, Path], None]:
    """Puts a folder into the hub cache, as a download of that id would."""

    def put(repository: str, folder: Path) -> None:
        repository_folder = hub_cache / f"models--{repository.replace('/', '--')}"
        commit = "0" * 40
        copytree(folder, repository_folder / "snapshots" / commit)
        (repository_folder / "refs").mkdir()
        (repository_folder / "refs" / "main").write_text(commit)

    return put


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny models lie that the tests take copies of; each is made once."""
    return tmp_path_factory.mktemp("masters")


@pytest.fixture
def video_folder(masters: Path, pipeline_factory: Callable[..., Any], tmp_path: Path) -> Path:
    """A complete AnimateDiff pipeline: the tiny one of the tests, saved."""
    if not (masters / "video").exists():
        pipeline_factory(layers=2).save_pretrained(masters / "video")
    return Path(copytree(masters / "video", tmp_path / "video"))


@pytest.fixture
def image_folder(masters: Path, pipeline_factory: Callable[..., Any], tmp_path: Path) -> Path:
    """The image model of the tiny pipeline's shape, as Stable Diffusion 1.5 is AnimateDiff's."""
    if not (masters / "image").exists():
        make_image_pipeline(pipeline_factory(layers=2)).save_pretrained(masters / "image")
    return Path(copytree(masters / "image", tmp_path / "image"))


@pytest.fixture
def adapter_folder(video_folder: Path, tmp_path: Path) -> Path:
    """The motion modules of the tiny pipeline."""
    return Path(copytree(video_folder / "motion_adapter", tmp_path / "adapter"))


@pytest.fixture
def adapter(adapter_folder: Path) -> MotionAdapter:
    return MotionAdapter.from_pretrained(adapter_folder)


def make_image_pipeline(video: Any) -> StableDiffusionPipeline:
    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32, 64, 64),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    return StableDiffusionPipeline(
        vae=video.vae,
        text_encoder=video.text_encoder,
        tokenizer=video.tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
