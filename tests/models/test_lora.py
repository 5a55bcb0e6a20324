"""LoRAs on a pipeline: found, read, weighted, refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from bytheway import ByTheWayError
from bytheway.models import load
from bytheway.models.lora import split_weight

Generate = Callable[..., torch.Tensor]


@pytest.fixture
def lora_file(tiny_pipeline: Any, tmp_path: Path) -> Path:
    """A LoRA on the queries of the temporal attention, as diffusers saves it."""
    torch.manual_seed(2)
    unet = tiny_pipeline.unet
    unet.add_adapter(LoraConfig(r=2, target_modules=r".*motion_modules.*attn\d\.to_q", init_lora_weights=False))
    layers = {name: tensor.detach() for name, tensor in get_peft_model_state_dict(unet).items()}
    folder = tmp_path / "lora"
    tiny_pipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return folder / "pytorch_lora_weights.safetensors"


def latents(folder: Path, generate: Generate, *loras: str) -> torch.Tensor:
    pipe = load(str(folder), lora=loras, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return generate(pipe)


def test_lora_changes_the_clip_by_its_weight(video_folder: Path, lora_file: Path, generate: Generate) -> None:
    plain = latents(video_folder, generate)
    full = latents(video_folder, generate, str(lora_file))
    assert not torch.allclose(plain, full)
    torch.testing.assert_close(latents(video_folder, generate, f"{lora_file}=0"), plain)
    torch.testing.assert_close(latents(video_folder, generate, f"{lora_file}=0.5", f"{lora_file}=0.5"), full)


def test_lora_from_its_folder_and_from_the_hub(
    video_folder: Path, lora_file: Path, generate: Generate, publish: Callable[[str, Path], None]
) -> None:
    publish("somebody/zoom-out", lora_file.parent)
    from_file = latents(video_folder, generate, str(lora_file))
    torch.testing.assert_close(latents(video_folder, generate, str(lora_file.parent)), from_file, rtol=0, atol=0)
    torch.testing.assert_close(latents(video_folder, generate, "somebody/zoom-out"), from_file, rtol=0, atol=0)


def test_lora_in_animatediffs_naming(video_folder: Path, lora_file: Path, generate: Generate, tmp_path: Path) -> None:
    tensors = {}
    for name, tensor in load_file(lora_file).items():
        name = name.removeprefix("unet.").replace(".transformer_blocks.", ".temporal_transformer.transformer_blocks.")
        name = re.sub(r"\.attn(\d)\.", lambda match: f".attention_blocks.{int(match[1]) - 1}.", name)
        name = name.replace(".to_q.lora_A.", ".processor.to_q_lora.down.")
        tensors[name.replace(".to_q.lora_B.", ".processor.to_q_lora.up.")] = tensor
    torch.save({"state_dict": tensors}, tmp_path / "ZoomOut.ckpt")
    original = latents(video_folder, generate, str(tmp_path / "ZoomOut.ckpt"))
    torch.testing.assert_close(original, latents(video_folder, generate, str(lora_file)))


def test_lora_on_the_images_layers_in_animatediffs_naming(
    video_folder: Path, pipeline_factory: Callable[..., Any], generate: Generate, tmp_path: Path
) -> None:
    """Such as v3's domain adapter."""
    torch.manual_seed(2)
    pipe = pipeline_factory(layers=2)
    targets = r".*\.attentions\..*attn1\.(to_q|to_out\.0)"
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=targets, init_lora_weights=False))
    layers = {name: tensor.detach() for name, tensor in get_peft_model_state_dict(pipe.unet).items()}
    pipe.save_lora_weights(tmp_path / "lora", unet_lora_layers=layers)
    original = {}
    for name, tensor in layers.items():
        part, side = name.removesuffix(".weight").rsplit(".", 1)
        attention, _, projection = part.replace(".to_out.0", ".to_out").rpartition(".")
        way = {"lora_A": "down", "lora_B": "up"}[side]
        original[f"{attention}.processor.{projection}_lora.{way}.weight"] = tensor
    torch.save({"state_dict": original, "animatediff_config": {}}, tmp_path / "v3_sd15_adapter.ckpt")
    made = latents(video_folder, generate, str(tmp_path / "v3_sd15_adapter.ckpt"))
    torch.testing.assert_close(made, latents(video_folder, generate, str(tmp_path / "lora")))
    assert not torch.allclose(made, latents(video_folder, generate))


def refused(folder: Path, lora: str | Path, because: str) -> None:
    with pytest.raises(ByTheWayError, match=because):
        load(str(folder), lora=[str(lora)], device="cpu")


def test_lora_that_does_not_exist(video_folder: Path) -> None:
    refused(video_folder, "nowhere", "There is no LoRA nowhere")


def test_lora_out_of_reach(video_folder: Path) -> None:
    refused(video_folder, "somebody/zoom-out", "somebody/zoom-out is not on this machine")


def test_file_without_a_lora(video_folder: Path) -> None:
    file = video_folder / "unet" / "diffusion_pytorch_model.safetensors"
    refused(video_folder, file, "holds no LoRA")


def test_folder_without_a_lora(video_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(video_folder, tmp_path / "empty", "holds 0 files that may be the LoRA")


def test_lora_of_another_size(video_folder: Path, lora_file: Path) -> None:
    tensors = {name: torch.nn.functional.pad(tensor, (0, 3)) for name, tensor in load_file(lora_file).items()}
    save_file(tensors, lora_file)
    refused(video_folder, lora_file, "cannot be loaded: .*size mismatch for ")


def test_lora_of_another_model(video_folder: Path, tmp_path: Path) -> None:
    tensors = {f"unet.elsewhere.to_q.lora_{side}.weight": torch.zeros(2, 2) for side in "AB"}
    save_file(tensors, tmp_path / "other.safetensors")
    refused(video_folder, tmp_path / "other.safetensors", "other.safetensors")


def test_without_peft(video_folder: Path, lora_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusers.utils.is_peft_available", lambda: False)
    refused(video_folder, lora_file, "LoRAs need the package peft")


@pytest.mark.parametrize(
    ("text", "source", "weight"),
    [("zoom", "zoom", 1.0), ("owner/zoom=0.8", "owner/zoom", 0.8), ("a=b.ckpt=-1", "a=b.ckpt", -1.0)],
)
def test_weight_after_the_source(text: str, source: str, weight: float) -> None:
    assert split_weight(text) == (source, weight)


def test_equals_sign_in_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "zoom=2").touch()
    assert split_weight(str(tmp_path / "zoom=2")) == (str(tmp_path / "zoom=2"), 1.0)


@pytest.mark.parametrize("weight", ["much", "nan", "inf", ""])
def test_weight_that_is_no_number(weight: str) -> None:
    with pytest.raises(ByTheWayError, match="The weight of the LoRA zoom is"):
        split_weight(f"zoom={weight}")
