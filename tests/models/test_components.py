"""Components that are not whole, that ask for too much, or do not go together; weights in half precision alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import AnimateDiffPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from bytheway import ByTheWayError
from bytheway.families.known import families
from bytheway.models import load
from bytheway.models.motion import load_motion_adapter
from tests.models.stable_diffusion_layout import single_file

Generate = Callable[..., torch.Tensor]

WEIGHTS = "diffusion_pytorch_model.safetensors"
PLACES = {
    "unet": f"unet/{WEIGHTS}",
    "vae": f"vae/{WEIGHTS}",
    "text_encoder": "text_encoder/model.safetensors",
    "image_encoder": "image_encoder/model.safetensors",
}


def refused(model: str | Path, because: str, **options: Any) -> None:
    """`load` refuses in one line that the pattern matches."""
    with pytest.raises(ByTheWayError, match=because) as refusal:
        load(str(model), device="cpu", **options)
    assert "\n" not in str(refusal.value)


def change(file: Path, **changes: Any) -> None:
    """Set some entries of a JSON object."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def folder(video_folder: Path) -> Path:
    """The tiny pipeline with an image encoder beside it."""
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        projection_dim=8,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(video_folder / "image_encoder")
    change(video_folder / "model_index.json", image_encoder=["transformers", "CLIPVisionModelWithProjection"])
    return video_folder


# --- weights that a component lacks


@pytest.mark.parametrize("component", PLACES)
def test_whole_folder_is_loaded_and_a_missing_tensor_is_named(folder: Path, component: str) -> None:
    assert load(str(folder), device="cpu").image_encoder is not None
    file = folder / PLACES[component]
    tensors = load_file(file)
    first = sorted(name for name in tensors if name.endswith("weight"))[0]
    del tensors[first]
    save_file(tensors, file, metadata={"format": "pt"})
    named = first.removeprefix("text_model.")
    refused(folder, rf"The {component} of {folder} is not whole: its weights lack .*{re.escape(named)}; download or")


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_renamed_tensors_are_missing_tensors(folder: Path, component: str) -> None:
    file = folder / PLACES[component]
    tensors = {f"theirs.{name}": tensor for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    refused(folder, rf"The {component} of .* is not whole: its weights lack \S+, \S+, \S+ and {len(tensors) - 3} more;")


def test_more_layers_than_there_are_weights(folder: Path) -> None:
    config = folder / "text_encoder" / "config.json"
    layers = json.loads(config.read_text())["num_hidden_layers"]
    change(config, num_hidden_layers=layers + 1)
    refused(folder, rf"The text_encoder of .* is not whole: its weights lack \S*layers\.{layers}\.")


def test_width_that_the_weights_do_not_have(folder: Path) -> None:
    change(folder / "text_encoder" / "config.json", intermediate_size=48)
    refused(folder, r"The text_encoder of .* does not fit its config\.json: \S+ has the shape .* instead of")


def test_image_model_and_motion_adapter_that_are_not_whole(
    image_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(image_folder / "text_encoder" / "model.safetensors")
    whole = dict(tensors)
    del tensors[next(name for name in tensors if name.endswith("fc1.bias"))]
    save_file(tensors, image_folder / "text_encoder" / "model.safetensors", metadata={"format": "pt"})
    refused(image_folder, "The text_encoder of .* is not whole", motion_adapter=str(adapter_folder))
    save_file(whole, image_folder / "text_encoder" / "model.safetensors", metadata={"format": "pt"})
    motion = load_file(adapter_folder / WEIGHTS)
    del motion["mid_block.motion_modules.0.norm.weight"]
    save_file(motion, adapter_folder / WEIGHTS)
    because = r"The motion adapter of .* lack mid_block\.motion_modules\.0\.norm\.weight;"
    refused(image_folder, because, motion_adapter=str(adapter_folder))


@pytest.mark.parametrize("part", ["cond_stage_model.transformer.text_model.final_layer_norm.bias"])
def test_checkpoint_file_that_is_not_whole(
    part: str, image_folder: Path, adapter_folder: Path, publish: Callable[[str, Path], None], tmp_path: Path
) -> None:
    from diffusers import StableDiffusionPipeline

    publish("stable-diffusion-v1-5/stable-diffusion-v1-5", image_folder)
    tensors = single_file(StableDiffusionPipeline.from_pretrained(image_folder))
    del tensors[part]
    torch.save(tensors, tmp_path / "model.ckpt")
    refused(tmp_path / "model.ckpt", "The text_encoder of .* is not whole", motion_adapter=str(adapter_folder))


# --- tokenizers and text encoders that do not go together


def test_tokenizer_without_a_pad_token(folder: Path) -> None:
    change(folder / "tokenizer" / "tokenizer_config.json", pad_token=None)
    refused(folder, "The tokenizer of .* has no pad_token, with which prompts are filled up")


def test_text_encoder_without_an_end(folder: Path) -> None:
    change(folder / "text_encoder" / "config.json", eos_token_id=None)
    refused(folder, r"eos_token_id in text_encoder/config\.json of .* is None, which is no token")


def test_tokens_beyond_the_embeddings(folder: Path) -> None:
    file = folder / "tokenizer" / "tokenizer.json"
    content = json.loads(file.read_text())
    word = next(word for word in content["model"]["vocab"] if "<|" not in word)
    content["model"]["vocab"][word] = 999
    file.write_text(json.dumps(content))
    refused(folder, "The tokenizer of .* has tokens up to 999, and its text encoder reads those below")


# --- schedulers


@pytest.mark.parametrize("component", [["diffusers", "UNet2DConditionModel"], ["transformers", "CLIPTokenizer"]])
def test_scheduler_that_is_none(folder: Path, component: list[str]) -> None:
    change(folder / "model_index.json", scheduler=component)
    refused(folder, r"scheduler|cannot be loaded: a file is missing or damaged, or does not go with the others \(")


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"trained_betas": [0.1, 0.2]}, "has 2 trained_betas for 1000 timesteps"),
        ({"beta_start": float("nan")}, "betas of the scheduler of .* are no numbers from 0 to 1"),
        ({"beta_end": 2.0}, "betas of the scheduler of .* are no numbers from 0 to 1"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps in scheduler/scheduler_config.json of .* is 1000000000"),
    ],
)
@pytest.mark.parametrize("kind", ["video", "image"])
def test_noise_schedules_that_cannot_be_run(
    changes: dict[str, Any], because: str, kind: str, video_folder: Path, image_folder: Path, adapter_folder: Path
) -> None:
    model = video_folder if kind == "video" else image_folder
    change(model / "scheduler" / "scheduler_config.json", **changes)
    refused(model, because, motion_adapter=str(adapter_folder) if kind == "image" else None)


# --- configs that ask for too much, or are none


@pytest.mark.parametrize(
    ("component", "setting"),
    [
        ("unet", "layers_per_block"),
        ("vae", "layers_per_block"),
        ("text_encoder", "num_hidden_layers"),
        ("motion_adapter", "motion_max_seq_length"),
        ("unet", "transformer_layers_per_block"),
    ],
)
def test_config_that_asks_for_a_billion(folder: Path, component: str, setting: str) -> None:
    change(folder / component / "config.json", **{setting: 10**9})
    refused(folder, rf"{setting} in {component}/config\.json of .* is 1000000000, more than any model has")


def test_motion_adapter_that_asks_for_a_billion(image_folder: Path, adapter_folder: Path) -> None:
    change(adapter_folder / "config.json", motion_layers_per_block=10**9)
    refused(image_folder, "motion_layers_per_block in config.json of", motion_adapter=str(adapter_folder))


@pytest.mark.parametrize("component", ["unet", "text_encoder", "vae", "motion_adapter"])
def test_config_that_is_a_list(folder: Path, component: str) -> None:
    (folder / component / "config.json").write_text("[1, 2]")
    refused(folder, rf"{component}/config\.json of .* is damaged: it holds no JSON object")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer/tokenizer.json", {}),
        ("tokenizer/tokenizer.json", []),
        ("tokenizer/tokenizer_config.json", []),
        ("scheduler/scheduler_config.json", []),
        ("vae/config.json", {"_class_name": "AutoencoderKL", "norm_num_groups": 0}),
        ("unet/config.json", {"_class_name": "UNetMotionModel", "down_block_types": 3}),
    ],
)
def test_what_libraries_say_is_in_brackets_at_most(folder: Path, file: str, content: Any) -> None:
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(ByTheWayError) as refusal:
        load(str(folder), device="cpu")
    said = str(refusal.value)
    assert re.search(r"does not go with the others \(.+\)\.$|; download or save (it|the model) again\.$", said), said
    assert not said.endswith(":")


# --- weights in half precision alone; image models that need more than a prompt


@pytest.mark.parametrize("from_hub", [False, True])
def test_folders_with_weights_in_half_precision_alone(
    from_hub: bool, video_folder: Path, tmp_path: Path, publish: Callable[[str, Path], None], generate: Generate
) -> None:
    whole = AnimateDiffPipeline.from_pretrained(video_folder)
    whole.to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    assert list((tmp_path / "half").glob("*/*.safetensors"))
    assert all(".fp16." in file.name for file in (tmp_path / "half").glob("*/*.safetensors"))
    publish("somebody/half", tmp_path / "half")
    pipe = load("somebody/half" if from_hub else str(tmp_path / "half"), device="cpu")
    pipe.set_progress_bar_config(disable=True)
    expected = whole.to(torch.float32)
    expected.set_progress_bar_config(disable=True)
    torch.testing.assert_close(generate(pipe), generate(expected), rtol=0, atol=0)


def test_motion_adapter_in_half_precision_alone(adapter_folder: Path, tmp_path: Path) -> None:
    whole = load_motion_adapter(str(adapter_folder), torch.float16)
    whole.save_pretrained(tmp_path / "half", variant="fp16")
    half = load_motion_adapter(str(tmp_path / "half"), torch.float16)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(half.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("channels", [8, 9])
@pytest.mark.parametrize("form", ["folder", "file"])
def test_image_models_that_see_more_than_noise(
    channels: int, form: str, image_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    """InstructPix2Pix, and inpainting."""
    from diffusers import StableDiffusionPipeline

    image: Any = StableDiffusionPipeline.from_pretrained(image_folder)
    image.unet = UNet2DConditionModel.from_config(image.unet.config, in_channels=channels)
    model = tmp_path / "wide"
    if form == "folder":
        image.unet.save_pretrained(image_folder / "unet")
        model = image_folder
    else:
        model = tmp_path / "wide.ckpt"
        torch.save(single_file(image), model)
    refused(model, f"takes {channels} channels and makes 4", motion_adapter=str(adapter_folder))


@pytest.mark.parametrize(
    ("pipeline", "start", "refused_as"),
    [
        ("WanVACEPipeline", None, "WanVACEPipeline"),
        ("WanImageToVideoPipeline", None, "WanImageToVideoPipeline"),
        ("WanPipeline", "video", "WanVideoToVideoPipeline"),
    ],
)
def test_a_package_that_is_missing_is_said_before_anything_is_read(
    pipeline: str, start: Any, refused_as: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has no weights at all."""
    denoiser = "WanVACETransformer3DModel" if "VACE" in pipeline else "WanTransformer3DModel"
    index = {"_class_name": pipeline, "transformer": ["diffusers", denoiser]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    monkeypatch.setattr("diffusers.utils.is_ftfy_available", lambda: False)
    refused(
        tmp_path, rf"^{refused_as} reads prompts with the package ftfy; install it \(pip install ftfy\)\.$", start=start
    )


def test_the_pipelines_that_require_ftfy_are_those_that_fail_without() -> None:
    """Of those that run a denoiser that is supported; a call of it in no `if` fails where it was not imported."""
    declared = {pipeline for family in families() for pipeline in family.requiring_ftfy}
    denoisers = "|".join(denoiser for family in families() for denoiser in family.denoisers)
    ours, failing = rf"transformer\w*: ({denoisers})\b", set()
    for file in (Path(str(diffusers.__file__)).parent / "pipelines").rglob("pipeline_*.py"):
        text = file.read_text(encoding="utf-8")
        if re.search(ours, text) and re.search(r"^    text = ftfy", text, re.MULTILINE):
            failing |= set(re.findall(r"^class (\w+Pipeline)\(", text, re.MULTILINE))
    assert declared == failing
