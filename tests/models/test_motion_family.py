"""Motion adapters that want something of their own: a scheduler, a LoRA, another pipeline."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    AnimateDiffSDXLPipeline,
    DDIMScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    MotionAdapter,
    StableDiffusionXLPipeline,
)
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from bytheway import ByTheWayError
from bytheway.models import known_models, load, profile_of
from bytheway.models.registry import is_present, model_of_parts
from tests.toys import animatediff

Publish = Callable[[str, Path], None]
LIGHTNING = "animatediff_lightning_4step_diffusers.safetensors"


def test_animatelcm_brings_its_scheduler_and_its_lora(
    image_folder: Path, adapter_folder: Path, video_folder: Path, publish: Publish
) -> None:
    lora = add_lora(video_folder)
    copy(lora, adapter_folder / "AnimateLCM_sd15_t2v_lora.safetensors")
    save_file({name: 2 * tensor for name, tensor in load_file(lora).items()}, lora)  # another one
    publish("emilianJR/epiCRealism", image_folder)
    publish("wangfuyun/AnimateLCM", adapter_folder)
    assert is_present(next(model for model in known_models() if model.name == "animatelcm"))
    pipe = load("animatelcm", lora=[f"{lora}=0.25"], device="cpu")
    assert isinstance(pipe.scheduler, LCMScheduler)
    assert pipe.scheduler.config.beta_schedule == "linear"
    assert pipe.scheduler.config.beta_end == 0.012  # the base model's
    assert (profile_of(pipe).defaults.steps, profile_of(pipe).defaults.guidance_scale) == (6, 2.0)
    weights = next(module.scaling for module in pipe.unet.modules() if hasattr(module, "lora_A"))
    assert list(weights.values()) == [0.8, 0.25]


def add_lora(video_folder: Path) -> Path:
    """A LoRA on the temporal attention of the tiny model, in its folder."""
    pipe = load(str(video_folder), device="cpu")
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=r".*motion_modules.*attn1\.to_q"))
    layers = {name: tensor.detach() for name, tensor in get_peft_model_state_dict(pipe.unet).items()}
    pipe.save_lora_weights(video_folder / "lora", unet_lora_layers=layers)
    return video_folder / "lora" / "pytorch_lora_weights.safetensors"


def test_lightning_is_one_file_of_its_repository(
    adapter: MotionAdapter, image_folder: Path, tmp_path: Path, publish: Publish
) -> None:
    (tmp_path / "lightning").mkdir()
    save_file(dict(adapter.state_dict()), tmp_path / "lightning" / LIGHTNING)
    publish("ByteDance/AnimateDiff-Lightning", tmp_path / "lightning")
    publish("emilianJR/epiCRealism", image_folder)
    by_name = load("animatediff-lightning", device="cpu")
    by_file = load(str(image_folder), motion_adapter=str(tmp_path / "lightning" / LIGHTNING), device="cpu")
    for pipe in (by_name, by_file):
        assert isinstance(pipe.scheduler, EulerDiscreteScheduler)
        assert pipe.scheduler.config.timestep_spacing == "trailing"
        assert pipe.scheduler.config.beta_schedule == "linear"
        assert (profile_of(pipe).defaults.steps, profile_of(pipe).defaults.guidance_scale) == (4, 1.0)
    with pytest.raises(ByTheWayError, match="is not on this machine and the hub cannot be reached"):
        load("animatediff", motion_adapter="ByteDance/AnimateDiff-Lightning:other.safetensors", device="cpu")


def made_alike(pipe: Any, again: Any) -> None:
    """Both have the same settings where nothing is said, and schedulers alike."""
    assert profile_of(again).defaults == profile_of(pipe).defaults
    assert type(again.scheduler) is type(pipe.scheduler)
    settings = [
        {name: value for name, value in one.scheduler.config.items() if not name.startswith("_")}
        for one in (again, pipe)
    ]
    assert settings[0] == settings[1]


@pytest.mark.parametrize("way", ["load", "hub", "diffusers", "a copy of the copy"])
def test_few_steps_are_still_few_where_the_pipeline_was_saved(
    way: str, adapter: MotionAdapter, image_folder: Path, tmp_path: Path, publish: Publish
) -> None:
    save_file(dict(adapter.state_dict()), tmp_path / LIGHTNING)
    pipe: Any = load(str(image_folder), motion_adapter=str(tmp_path / LIGHTNING), device="cpu")
    assert (profile_of(pipe).defaults.steps, profile_of(pipe).defaults.guidance_scale) == (4, 1.0)
    pipe.save_pretrained(tmp_path / "saved")
    if way == "hub":
        publish("somebody/saved", tmp_path / "saved")
        made_alike(pipe, load("somebody/saved", device="cpu"))
        return
    if way == "diffusers":
        made_alike(pipe, AnimateDiffPipeline.from_pretrained(tmp_path / "saved"))
        return
    again: Any = load(str(tmp_path / "saved"), device="cpu")
    if way == "a copy of the copy":
        again.save_pretrained(tmp_path / "again")
        again = load(str(tmp_path / "again"), start="video", device="cpu")
    made_alike(pipe, again)


def test_animatelcm_is_saved_with_its_lora_in_the_weights(
    image_folder: Path, adapter_folder: Path, video_folder: Path, tmp_path: Path, publish: Publish
) -> None:
    copy(add_lora(video_folder), adapter_folder / "AnimateLCM_sd15_t2v_lora.safetensors")
    publish("wangfuyun/AnimateLCM", adapter_folder)
    pipe: Any = load(str(image_folder), motion_adapter="wangfuyun/AnimateLCM", device="cpu")
    pipe.save_pretrained(tmp_path / "unfused")
    with pytest.raises(
        ByTheWayError, match=r"unet of .*unfused was saved with a LoRA on it.* after pipe\.fuse_lora\(\)"
    ):
        load(str(tmp_path / "unfused"), device="cpu")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    pipe.save_pretrained(tmp_path / "fused")
    again: Any = load(str(tmp_path / "fused"), device="cpu")
    made_alike(pipe, again)
    assert (profile_of(again).defaults.steps, profile_of(again).defaults.guidance_scale) == (6, 2.0)
    assert again.get_list_adapters() == {}


def test_adapter_of_stable_diffusion_xl(image_folder: Path, tmp_path: Path) -> None:
    parts, adapter = animatediff.sdxl_parts()
    StableDiffusionXLPipeline(**parts).save_pretrained(tmp_path / "xl")
    adapter.save_pretrained(tmp_path / "motion")
    pipe = load(str(tmp_path / "xl"), motion_adapter=str(tmp_path / "motion"), device="cpu")
    assert isinstance(pipe, AnimateDiffSDXLPipeline)
    assert isinstance(pipe.scheduler, DDIMScheduler)
    assert pipe.config._name_or_path == str(tmp_path / "xl")
    assert not pipe.unet.training
    ours, theirs = pipe.unet.add_embedding.state_dict(), parts["unet"].add_embedding.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    expected, call = animatediff.sdxl()
    expected.unet.add_embedding.load_state_dict(theirs)
    expected.scheduler = pipe.scheduler
    pipe.set_progress_bar_config(disable=True)
    made, wanted = (
        one(**call, num_inference_steps=1, generator=torch.Generator().manual_seed(0)).frames
        for one in (pipe, expected)
    )
    torch.testing.assert_close(made, wanted)
    with pytest.raises(ByTheWayError, match="does not fit"):
        load(str(image_folder), motion_adapter=str(tmp_path / "motion"), device="cpu")


def test_adapter_of_pia(image_folder: Path, tmp_path: Path, pipeline_factory: Callable[..., Any]) -> None:
    pipeline_factory(layers=2, conv_in_channels=9).motion_adapter.save_pretrained(tmp_path / "pia")
    pipe = load(str(image_folder), motion_adapter=str(tmp_path / "pia"), device="cpu")
    assert type(pipe).__name__ == "PIAPipeline"
    assert pipe.unet.config.in_channels == 9
    assert isinstance(pipe.scheduler, DDIMScheduler)


def test_a_version_of_diffusers_without_the_pipeline(
    image_folder: Path, tmp_path: Path, pipeline_factory: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusers.PIAPipeline", None)
    pipeline_factory(layers=2, conv_in_channels=9).motion_adapter.save_pretrained(tmp_path / "pia")
    with pytest.raises(ByTheWayError, match="needs PIAPipeline, which this version of diffusers does not have"):
        load(str(image_folder), motion_adapter=str(tmp_path / "pia"), device="cpu")


@pytest.mark.parametrize(
    ("adapter", "controlnet", "name"),
    [
        ("guoyww/animatediff-motion-adapter-v1-5-3", None, "animatediff"),
        ("guoyww/animatediff-motion-adapter-v1-5-3", "guoyww/animatediff-sparsectrl-scribble", "sparsectrl-scribble"),
        ("guoyww/animatediff-motion-adapter-v1-5-3", "somebody/sparse", "animatediff"),
        ("folder/animatediff_lightning_2step_comfyui.safetensors", None, "animatediff-lightning-2step"),
        ("wangfuyun/AnimateLCM:AnimateLCM_sd15_t2v.ckpt", None, "animatelcm"),
        ("somebody/adapter", None, None),
    ],
)
def test_known_models_by_their_parts(adapter: str, controlnet: str | None, name: str | None) -> None:
    model = model_of_parts(adapter, controlnet)
    assert (model and model.name) == name
