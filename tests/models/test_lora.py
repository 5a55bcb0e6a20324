"""LoRAs on a pipeline: found, read, weighted, refused."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
Merged = dict[str, torch.Tensor]


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


@contextmanager
def said_once(pattern: str) -> Iterator[None]:
    """One warning is ours, and says that; libraries have others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    (ours,) = [str(warning.message) for warning in caught if "LoRA" in str(warning.message)]
    assert re.search(pattern, ours)


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
    file = video_folder / "vae" / "diffusion_pytorch_model.safetensors"
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


# --- layers that find their place, and layers that do not


def random_lora(linear: dict[str, torch.nn.Linear], name: Callable[[str], str]) -> tuple[dict[str, Any], Merged]:
    """A LoRA on some layers in the naming of its trainer, and what it adds to their weights."""
    torch.manual_seed(5)
    tensors, merged = {}, {}
    for path, layer in linear.items():
        down, up = 0.2 * torch.randn(2, layer.in_features), 0.2 * torch.randn(layer.out_features, 2)
        tensors |= {f"{name(path)}.down.weight": down, f"{name(path)}.up.weight": up}
        merged[path] = up @ down
    return tensors, merged


def linear_layers(pipe: Any, pattern: str) -> dict[str, torch.nn.Linear]:
    """The linear layers of a UNet whose path matches."""
    modules = pipe.unet.named_modules()
    return {path: m for path, m in modules if isinstance(m, torch.nn.Linear) and re.search(pattern, path)}


def temporal_name(path: str) -> str:
    """As MotionDirector's trainer names a layer of a motion module."""
    path = re.sub(r"(motion_modules\.\d+)\.", r"\1.temporal_transformer.", path)
    path = re.sub(r"\.attn(\d)\.", lambda match: f".attention_blocks.{int(match[1]) - 1}.", path)
    head, _, last = path.rpartition(".")
    return f"{head}.processor.{last}_lora"


def spatial_name(path: str) -> str:
    """And as it names one of the image model's transformers."""
    return re.sub(r"\.(attn\d)\.", r".\1.processor.", path).replace("to_out.0", "to_out") + "_lora"


TEMPORAL = r"\.motion_modules\.\d\.transformer_blocks\."
SPATIAL = r"\.attentions\.\d\.transformer_blocks\."


@pytest.mark.parametrize(
    ("pattern", "name", "examples"),
    [
        (TEMPORAL, temporal_name, ("to_out.processor.0", "ff.net.0.processor.proj", "ff.net.processor.2")),
        (SPATIAL, spatial_name, ("attn2.processor.to_out", "ff.net.0.proj", "ff.net.2")),
    ],
)
@pytest.mark.parametrize("prefix", ["", "unet."])
def test_motiondirectors_namings_load_whole(
    pattern: str,
    name: Callable[[str], str],
    examples: tuple[str, ...],
    prefix: str,
    video_folder: Path,
    generate: Generate,
    tmp_path: Path,
) -> None:
    pipe = load(str(video_folder), device="cpu")
    pipe.set_progress_bar_config(disable=True)
    linear = linear_layers(pipe, pattern)
    tensors, merged = random_lora(linear, name)
    for example in examples:
        assert any(f".{example}_lora.down.weight" in tensor for tensor in tensors)
    save_file({prefix + tensor: value for tensor, value in tensors.items()}, tmp_path / "motion.safetensors")
    vanilla = generate(pipe)
    for path, difference in merged.items():
        linear[path].weight.data += difference
    by_hand = generate(pipe)
    assert not torch.allclose(by_hand, vanilla, atol=1e-2)
    torch.testing.assert_close(
        latents(video_folder, generate, str(tmp_path / "motion.safetensors")), by_hand, rtol=1e-3, atol=1e-3
    )


def test_layers_without_a_place_are_counted_and_named_once(
    video_folder: Path, lora_file: Path, generate: Generate
) -> None:
    whole = latents(video_folder, generate, str(lora_file))
    tensors = load_file(lora_file)
    layers = len(tensors) // 2
    for side in "AB":
        tensors[f"unet.elsewhere.to_q.lora_{side}.weight"] = torch.ones(2, 2)
        tensors[f"text_encoder_2.encoder.layers.0.mlp.fc1.lora_{side}.weight"] = torch.ones(2, 2)
    save_file(tensors, lora_file)
    said = (
        rf"Of the LoRA .* 2 of {layers + 2} layers find no place in this model and are left out: "
        r"text_encoder_2\.encoder\.layers\.0\.mlp\.fc1, unet\.elsewhere\.to_q\."
    )
    with said_once(said):
        made = latents(video_folder, generate, str(lora_file))
    torch.testing.assert_close(made, whole)


def test_lora_of_which_most_does_not_fit(video_folder: Path, lora_file: Path) -> None:
    tensors = load_file(lora_file)
    layers = len(tensors) // 2
    for number in range(layers + 1):
        for side in "AB":
            tensors[f"unet.elsewhere.{number}.lora_{side}.weight"] = torch.ones(2, 2)
    save_file(tensors, lora_file)
    because = rf"does not fit this model: {layers + 1} of its {2 * layers + 1} layers .*\(unet\.elsewhere\.0, "
    refused(video_folder, lora_file, because)


def test_lora_on_the_text_encoder_has_its_place(video_folder: Path, tmp_path: Path, generate: Generate) -> None:
    """In the naming of transformers before it flattened CLIP's text model."""
    torch.manual_seed(3)
    vanilla = latents(video_folder, generate)
    encoder = load(str(video_folder), device="cpu").text_encoder
    tensors = {}
    for path, layer in encoder.named_modules():
        if path.endswith("q_proj"):
            old = f"text_encoder.text_model.{path}.lora_linear_layer"
            tensors[f"{old}.down.weight"] = torch.randn(2, layer.in_features)
            tensors[f"{old}.up.weight"] = torch.randn(layer.out_features, 2)
    save_file(tensors, tmp_path / "text.safetensors")
    assert not torch.allclose(latents(video_folder, generate, str(tmp_path / "text.safetensors")), vanilla, atol=1e-3)


def test_lora_with_half_of_a_layer(video_folder: Path, lora_file: Path) -> None:
    tensors = load_file(lora_file)
    del tensors[next(name for name in tensors if ".lora_A." in name)]
    save_file(tensors, lora_file)
    refused(video_folder, lora_file, "is not whole: unet.* have one matrix of two")


@pytest.mark.parametrize("matrix", ["hada_w1_a", "lokr_w1", "dora_scale"])
def test_what_is_like_a_lora_and_is_none(video_folder: Path, tmp_path: Path, matrix: str) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file({f"{name}.{matrix}": torch.zeros(2, 2)}, tmp_path / "style.safetensors")
    refused(video_folder, tmp_path / "style.safetensors", "holds a LoHa, LoKr, OFT or DoRA")


# --- a LoRA that belongs to the model


ANIMATELCM = "AnimateLCM_sd15_t2v_lora.safetensors"
OWN = f"wangfuyun/AnimateLCM:{ANIMATELCM}"


@pytest.fixture
def animatelcm(image_folder: Path, adapter_folder: Path, tmp_path: Path) -> Path:
    """A folder with AnimateLCM's adapter and its LoRA, here on the image model's queries."""
    folder = tmp_path / "AnimateLCM"
    adapter_folder.rename(folder)
    pipe = load(str(image_folder), motion_adapter=str(folder), device="cpu")
    tensors, _ = random_lora(linear_layers(pipe, r"\.attentions\..*to_q$"), lambda path: f"unet.{path}.lora")
    save_file(tensors, folder / ANIMATELCM)
    save_file(load_file(folder / "diffusion_pytorch_model.safetensors"), folder / "AnimateLCM_sd15_t2v.safetensors")
    return folder


def test_own_lora_given_again_is_put_on_once(
    image_folder: Path, animatelcm: Path, publish: Callable[[str, Path], None], generate: Generate, tmp_path: Path
) -> None:
    publish("wangfuyun/AnimateLCM", animatelcm)
    (tmp_path / "renamed.safetensors").write_bytes((animatelcm / ANIMATELCM).read_bytes())

    def made(*loras: str, by_hand: float = 0.0) -> torch.Tensor:
        pipe = load(str(image_folder), motion_adapter="wangfuyun/AnimateLCM", lora=loras, device="cpu")
        pipe.set_progress_bar_config(disable=True)
        if by_hand:
            layers = linear_layers(pipe, r"\.attentions\..*to_q$")
            for path, difference in random_lora(layers, lambda path: path)[1].items():
                layers[path].weight.data += by_hand * difference
        return generate(pipe)

    merged = {weight: made(f"{OWN}=0", by_hand=weight) for weight in (0.8, 1.0)}
    assert not torch.allclose(merged[0.8], merged[1.0], atol=1e-3)
    torch.testing.assert_close(made(), merged[0.8], rtol=1e-3, atol=1e-4)
    for again in (OWN, str(animatelcm / ANIMATELCM), str(tmp_path / "renamed.safetensors")):
        with said_once(r"has it on at 0\.8 already; it is put on once, at 0\.8\."):
            same = made(f"{again}=0.8")
        torch.testing.assert_close(same, merged[0.8], rtol=1e-3, atol=1e-4)
    with said_once("put on once, at 1"):
        torch.testing.assert_close(made(OWN), merged[1.0], rtol=1e-3, atol=1e-4)


def test_own_lora_without_the_hub(image_folder: Path, animatelcm: Path, generate: Generate) -> None:
    """The adapter's file is known by its name; its LoRA lies beside it, or is left out."""
    file = str(animatelcm / "AnimateLCM_sd15_t2v.safetensors")
    with said_once("it is put on once, at 0.5"):
        pipe = load(str(image_folder), motion_adapter=file, lora=[f"{animatelcm / ANIMATELCM}=0.5"], device="cpu")
    assert pipe.get_list_adapters() == {"unet": ["lora_1"]}
    pipe = load(str(image_folder), motion_adapter=file, lora=[f"{OWN}=0"], device="cpu")
    assert pipe.get_list_adapters() == {}
    with pytest.raises(ByTheWayError, match=f"not on this machine .* or leave this LoRA of the model out: {OWN}=0"):
        load(str(image_folder), motion_adapter=file, device="cpu")
