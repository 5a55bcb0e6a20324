"""Every form of a model that `load` takes, and every sentence it refuses with."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter
from safetensors.torch import load_file, save_file

from bytheway import ByTheWayError
from bytheway.models import known_models, load, registry
from bytheway.models import loading as loaders

Generate = Callable[..., torch.Tensor]
Publish = Callable[[str, Path], None]


def refused(model: str | Path, *, because: str, **options: Any) -> str:
    """The sentence with which `load` refuses; it must be one line and contain `because`."""
    with pytest.raises(ByTheWayError, match=re.escape(because)) as refusal:
        load(str(model), device="cpu", **options)
    sentence = str(refusal.value)
    assert "\n" not in sentence
    return sentence


def test_folder_gives_the_pipeline_that_was_saved(
    pipeline_factory: Callable[..., Any], video_folder: Path, generate: Generate
) -> None:
    pipe = load(str(video_folder), device="cpu")
    pipe.set_progress_bar_config(disable=True)
    assert isinstance(pipe, AnimateDiffPipeline)
    assert pipe.config._name_or_path == str(video_folder)
    torch.testing.assert_close(generate(pipe), generate(pipeline_factory(layers=2)), rtol=0, atol=0)


def test_scheduler_of_a_video_folder_is_kept(video_folder: Path) -> None:
    assert load(str(video_folder), device="cpu").scheduler.config.steps_offset == 0


def test_dtype_is_that_asked_for(video_folder: Path) -> None:
    pipe = load(str(video_folder), device="cpu", dtype="bf16")
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.bfloat16}


def test_packaged_model_is_the_folder_in_the_package(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, video_folder)
    assert load("diorama", device="cpu").config._name_or_path == str(video_folder)


def test_early_self_of_the_packaged_model_has_its_own_motion_modules(
    video_folder: Path, adapter: MotionAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(monkeypatch, video_folder)
    for weight in adapter.parameters():
        weight.data.mul_(0.5)
    adapter.save_pretrained(video_folder.with_name("diorama_early"))
    late, early = load("diorama", device="cpu").unet.state_dict(), load("diorama-early", device="cpu")
    for name, weight in early.unet.state_dict().items():
        share = 0.5 if "motion_modules" in name and "pos_embed" not in name else 1.0
        torch.testing.assert_close(weight, share * late[name], rtol=0, atol=0)
    assert torch.equal(next(early.motion_adapter.parameters()), next(adapter.parameters()))


@pytest.mark.parametrize("name", ["diorama", "diorama-early"])
def test_packaged_model_without_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, tmp_path / "nothing")
    refused(name, because=f"The weights of {name} are missing from this installation")


def package(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the packaged model be the one in `folder`."""
    for module in (registry, loaders):
        monkeypatch.setattr(module, "packaged_folder", lambda: folder)


@pytest.mark.parametrize(("typo", "meant"), [("dioramma", "diorama"), ("Animatediff", "animatediff")])
def test_misspelt_name_gets_a_suggestion(typo: str, meant: str) -> None:
    assert meant in refused(typo, because="did you mean")


def test_unknown_name_lists_what_there_is() -> None:
    sentence = refused("zzz", because="There is no model 'zzz'")
    assert ", ".join(known.name for known in known_models()) in sentence
    assert "hub id" in sentence


def test_missing_file_is_no_hub_id() -> None:
    refused("weights/model.safetensors", because="There is no model 'weights/model.safetensors'")


# --- image models brought to motion


@pytest.fixture
def animated(image_folder: Path, adapter_folder: Path) -> AnimateDiffPipeline:
    return load(str(image_folder), motion_adapter=str(adapter_folder), device="cpu")


def test_image_folder_with_motion_adapter(
    animated: AnimateDiffPipeline, image_folder: Path, adapter: MotionAdapter, generate: Generate
) -> None:
    assert isinstance(animated, AnimateDiffPipeline)
    image_unet = load_file(image_folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(animated.unet.conv_in.weight, image_unet["conv_in.weight"])
    theirs = adapter.up_blocks[1].motion_modules[0].transformer_blocks[0].attn1.to_q.weight
    assert torch.equal(animated.unet.up_blocks[1].motion_modules[0].transformer_blocks[0].attn1.to_q.weight, theirs)
    animated.set_progress_bar_config(disable=True)
    assert generate(animated).isfinite().all()


def test_image_folder_gets_the_scheduler_of_motion_modules(animated: AnimateDiffPipeline) -> None:
    scheduler = animated.scheduler
    assert isinstance(scheduler, DDIMScheduler)
    assert scheduler.config.beta_schedule == "linear"
    assert scheduler.config.timestep_spacing == "linspace"
    assert scheduler.config.steps_offset == 1
    assert scheduler.config.clip_sample is False
    assert scheduler.config.beta_end == 0.012  # the base model's


def test_image_folder_alone(image_folder: Path) -> None:
    refused(
        image_folder, because="holds an image model (StableDiffusionPipeline); give it motion with a motion adapter"
    )


def test_motion_adapter_for_a_video_model(video_folder: Path, adapter_folder: Path) -> None:
    refused(video_folder, motion_adapter=str(adapter_folder), because="is a video model already")


def test_motion_adapter_as_the_model(adapter_folder: Path) -> None:
    refused(adapter_folder, because="is a motion adapter; give it as the motion adapter")


def test_image_model_as_the_motion_adapter(image_folder: Path) -> None:
    refused(image_folder, motion_adapter=str(image_folder), because="holds no motion adapter")


def test_motion_adapter_of_another_size(
    image_folder: Path, pipeline_factory: Callable[..., Any], tmp_path: Path
) -> None:
    pipeline_factory(channels=(32, 64)).motion_adapter.save_pretrained(tmp_path / "small")
    refused(image_folder, motion_adapter=str(tmp_path / "small"), because="does not fit")


def test_motion_adapter_that_does_not_exist(image_folder: Path) -> None:
    refused(image_folder, motion_adapter="nowhere", because="There is no motion adapter nowhere")


def test_other_image_model_with_motion_adapter(image_folder: Path, adapter_folder: Path) -> None:
    index = image_folder / "model_index.json"
    content = json.loads(index.read_text())
    content["_class_name"] = "LDMTextToImagePipeline"
    content["unet"] = ["diffusers", "UNet2DModel"]
    index.write_text(json.dumps(content))
    refused(
        image_folder,
        motion_adapter=str(adapter_folder),
        because="is a LDMTextToImagePipeline, which bytheway does not know",
    )


# --- folders that are broken


def test_folder_without_a_pipeline(tmp_path: Path) -> None:
    refused(tmp_path, because="holds no diffusers pipeline: it has no model_index.json")


def test_damaged_model_index(video_folder: Path) -> None:
    (video_folder / "model_index.json").write_text("{")
    refused(video_folder, because="model_index.json of")


def test_folder_cut_short(video_folder: Path) -> None:
    weights = video_folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(video_folder, because="damaged or cut short")


def test_folder_without_weights(video_folder: Path) -> None:
    (video_folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    refused(video_folder, because="cannot be loaded")


def test_folder_without_a_vocabulary(video_folder: Path) -> None:
    for file in (video_folder / "tokenizer").iterdir():
        file.unlink()
    refused(video_folder, because=f"The tokenizer of {video_folder} has no vocabulary")


@pytest.mark.parametrize(
    ("file", "changes", "because"),
    [
        ("text_encoder/config.json", {"num_attention_heads": 0}, "(ZeroDivisionError: integer"),
        ("text_encoder/config.json", {"hidden_size": "x"}, "'hidden_size' expected int"),
        ("tokenizer/tokenizer.json", {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]}}, "`x` out of"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": None}, "no model_max_length"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": "77"}, "no model_max_length"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 10**9}, "no model_max_length"),
        ("vae/config.json", {"scaling_factor": "x"}, "scaling_factor in vae/config.json of"),
        ("vae/config.json", {"scaling_factor": 0}, "is 0, which is no number to divide by"),
        ("model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}, "The vae of"),
    ],
)
def test_configurations_that_cannot_be_run(
    video_folder: Path, file: str, changes: dict[str, Any], because: str
) -> None:
    path = video_folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(video_folder, because=because)


def test_folder_without_a_tokenizers_configuration(video_folder: Path) -> None:
    (video_folder / "tokenizer" / "tokenizer_config.json").unlink()
    refused(video_folder, because=f"The tokenizer of {video_folder} has no model_max_length")


def test_class_that_diffusers_does_not_have(video_folder: Path) -> None:
    index = video_folder / "model_index.json"
    index.write_text(index.read_text().replace('"AnimateDiffPipeline"', '"AnimateDiffFromTomorrowPipeline"'))
    refused(video_folder, because="needs AnimateDiffFromTomorrowPipeline")


@pytest.mark.parametrize("name", [None, ["AnimateDiffPipeline"], "UNet2DModel", "utils"])
def test_model_index_that_names_no_pipeline(video_folder: Path, name: Any) -> None:
    index = video_folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": name}))
    refused(video_folder, because=f"needs {name}, which is no pipeline")


def test_component_of_a_class_that_there_is_not(video_folder: Path) -> None:
    index = video_folder / "model_index.json"
    index.write_text(index.read_text().replace('"AutoencoderKL"', '"AutoencoderFromTomorrow"'))
    refused(video_folder, because="AutoencoderFromTomorrow")


def test_name_that_no_file_can_have() -> None:
    refused("a long prompt " * 40, because="There is no model 'a long prompt")


# --- the hub


def test_hub_id_from_the_cache(video_folder: Path, publish: Publish) -> None:
    publish("somebody/video", video_folder)
    assert isinstance(load("somebody/video", device="cpu"), AnimateDiffPipeline)


def test_known_name_is_base_and_adapter_of_the_hub(image_folder: Path, adapter_folder: Path, publish: Publish) -> None:
    publish("SG161222/Realistic_Vision_V5.1_noVAE", image_folder)
    publish("guoyww/animatediff-motion-adapter-v1-5-3", adapter_folder)
    pipe = load("animatediff", device="cpu")
    assert isinstance(pipe, AnimateDiffPipeline)
    assert pipe.scheduler.config.beta_schedule == "linear"


def test_known_name_with_another_adapter(image_folder: Path, adapter_folder: Path, publish: Publish) -> None:
    publish("SG161222/Realistic_Vision_V5.1_noVAE", image_folder)
    assert isinstance(load("animatediff", motion_adapter=str(adapter_folder), device="cpu"), AnimateDiffPipeline)


def test_hub_out_of_reach() -> None:
    refused("somebody/video", because="somebody/video is not on this machine and the hub cannot be reached")


# --- placement


def test_device_that_is_none(video_folder: Path) -> None:
    with pytest.raises(ByTheWayError, match="'gpu' is no device"):
        load(str(video_folder), device="gpu")


def test_device_that_is_not_there(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    with pytest.raises(ByTheWayError, match="There is no cuda device"):
        load(str(video_folder), device="cuda")


def test_dtype_that_is_none(video_folder: Path) -> None:
    refused(video_folder, dtype="int8", because="'int8' is no precision")


def test_file_that_is_no_image_model(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", because="is no checkpoint of a Stable Diffusion 1.5 model")
