"""A Stable Diffusion 1.5 checkpoint in one file, brought to motion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline, StableDiffusionPipeline
from safetensors.torch import save_file

from bytheway import ByTheWayError
from bytheway.models import load
from tests.models.stable_diffusion_layout import single_file

CONFIGURATION = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture
def image_pipeline(image_folder: Path) -> Any:
    return StableDiffusionPipeline.from_pretrained(image_folder)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_checkpoint_with_motion_adapter(
    suffix: str,
    image_pipeline: Any,
    image_folder: Path,
    adapter_folder: Path,
    publish: Callable[[str, Path], None],
    tmp_path: Path,
    generate: Callable[..., torch.Tensor],
) -> None:
    publish(CONFIGURATION, image_folder)
    path = tmp_path / f"model{suffix}"
    tensors = single_file(image_pipeline)
    save_file(tensors, path) if suffix == ".safetensors" else torch.save({"state_dict": tensors}, path)

    pipe = load(str(path), motion_adapter=str(adapter_folder), device="cpu")
    folder = load(str(image_folder), motion_adapter=str(adapter_folder), device="cpu")

    assert isinstance(pipe, AnimateDiffPipeline)
    assert pipe.config._name_or_path == str(path)
    assert pipe.scheduler.config.beta_schedule == "linear"
    for made in (pipe, folder):
        made.set_progress_bar_config(disable=True)
    torch.testing.assert_close(generate(pipe), generate(folder))


def test_checkpoint_whose_configuration_is_out_of_reach(
    image_pipeline: Any, adapter_folder: Path, tmp_path: Path
) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in single_file(image_pipeline).items()}, tmp_path / "m.safetensors"
    )
    with pytest.raises(ByTheWayError, match="whose tokenizer and configuration come from the hub"):
        load(str(tmp_path / "m.safetensors"), motion_adapter=str(adapter_folder), device="cpu")


def test_checkpoint_alone(image_pipeline: Any, tmp_path: Path) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in single_file(image_pipeline).items()}, tmp_path / "m.safetensors"
    )
    with pytest.raises(ByTheWayError, match="holds an image model; give it motion"):
        load(str(tmp_path / "m.safetensors"), device="cpu")


def test_checkpoint_without_its_text_encoder(image_pipeline: Any, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in single_file(image_pipeline).items() if "cond_stage" not in name}
    torch.save(tensors, tmp_path / "m.ckpt")
    with pytest.raises(ByTheWayError, match=r"is no checkpoint of a Stable Diffusion .* with its text encoder"):
        load(str(tmp_path / "m.ckpt"), device="cpu")
