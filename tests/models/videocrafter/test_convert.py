"""The published checkpoint, on tiny models in its layout: to a folder, into memory, and every way it can be wrong."""

import json
import os
import pickle
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import functional

from bytheway import ByTheWayError
from bytheway.families.known import preset_for
from bytheway.models import load, profile_of, sources
from bytheway.models.checkpoints import read_tensors
from bytheway.models.registry import VOCABULARY
from bytheway.models.videocrafter import VideoCrafterPipeline
from bytheway.models.videocrafter import convert as conversion
from bytheway.models.videocrafter.convert import Written, convert
from bytheway.models.videocrafter.official import UNET, left_out, text_parts, unet_parts, vae_parts
from tests.models.videocrafter import official_layout
from tests.models.videocrafter.official_layout import Tensors

COMPONENTS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def original(make_pipeline: Callable[[], VideoCrafterPipeline]) -> VideoCrafterPipeline:
    return official_layout.use_opens_text_encoder(make_pipeline())


@pytest.fixture(scope="module")
def tensors(original: VideoCrafterPipeline) -> Tensors:
    return official_layout.checkpoint(original)


@pytest.fixture(autouse=True)
def tiny_as_published(original: VideoCrafterPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "PUBLISHED", official_layout.configurations(original))


@pytest.fixture
def tokenizer(original: VideoCrafterPipeline, tmp_path: Path) -> Path:
    original.tokenizer.save_pretrained(tmp_path / "vocabulary")
    return tmp_path / "vocabulary"


@pytest.fixture
def model(tensors: Tensors, tmp_path: Path) -> Path:
    torch.save({"state_dict": tensors, "global_step": 7}, tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


def frames(pipe: VideoCrafterPipeline) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    settings = {"num_frames": 2, "height": 16, "width": 16, "num_inference_steps": 1, "output_type": "pt"}
    return pipe("a red ball", generator=torch.Generator().manual_seed(0), **settings).frames


def assert_same(pipe: VideoCrafterPipeline, original: VideoCrafterPipeline) -> None:
    for component in COMPONENTS:
        ours, theirs = (getattr(one, component).state_dict() for one in (pipe, original))
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0, msg=f"{component}: {name}")


# --- what comes out


def test_a_converted_folder_is_the_model(
    model: Path, tokenizer: Path, original: VideoCrafterPipeline, tmp_path: Path
) -> None:
    told: list[Written] = []
    convert(model, tmp_path / "out", tokenizer=str(tokenizer), on_write=told.append)
    pipe = load(str(tmp_path / "out"), device="cpu")
    assert isinstance(pipe, VideoCrafterPipeline)
    assert_same(pipe, original)
    torch.testing.assert_close(frames(pipe), frames(original))
    assert pipe.vae.config.scaling_factor == 0.18215
    assert pipe.text_encoder.config.hidden_act == "gelu"
    assert {one.component for one in told} == set(COMPONENTS)
    assert told[-1].done == told[-1].total
    assert not list((tmp_path / "out").rglob("*.bin"))
    assert not list(tmp_path.glob(".*"))


def test_a_converted_folder_brings_the_models_settings(model: Path, tokenizer: Path, tmp_path: Path) -> None:
    convert(model, tmp_path / "out", tokenizer=str(tokenizer))
    pipe = load(str(tmp_path / "out"), device="cpu", dtype="bfloat16")
    assert {getattr(pipe, component).dtype for component in COMPONENTS} == {torch.bfloat16}
    assert preset_for(pipe).name == "videocrafter2"
    defaults = profile_of(pipe).defaults
    assert (defaults.steps, defaults.guidance_scale, defaults.fps, defaults.num_frames) == (50, 12, 10, 16)
    assert defaults.size == (16, 16)


def test_a_checkpoint_is_a_model_by_itself(
    model: Path, tokenizer: Path, original: VideoCrafterPipeline, publish: Callable[[str, Path], None]
) -> None:
    publish(conversion.VOCABULARY, tokenizer)
    pipe = load(str(model), device="cpu")
    assert pipe.config._name_or_path == str(model)
    assert not pipe.unet.training
    assert_same(pipe, original)
    torch.testing.assert_close(frames(pipe), frames(original))
    assert load(str(model), device="cpu", dtype="float16").text_encoder.dtype == torch.float16


def test_the_name_stands_for_the_published_checkpoint(
    tensors: Tensors, tokenizer: Path, tmp_path: Path, publish: Callable[[str, Path], None]
) -> None:
    (tmp_path / "repository").mkdir()
    torch.save({"state_dict": tensors}, tmp_path / "repository" / "model.ckpt")
    publish("VideoCrafter/VideoCrafter2", tmp_path / "repository")
    publish(VOCABULARY, tokenizer)
    for name in ("videocrafter2", "VideoCrafter/VideoCrafter2"):
        assert isinstance(load(name, device="cpu"), VideoCrafterPipeline)


def _deepspeed(tensors: Tensors) -> dict[str, Any]:
    return {"module": {f"_forward_module.{name}": tensor for name, tensor in tensors.items()}, "dp_world_size": 8}


@pytest.mark.parametrize("variant", ["bare", "deepspeed", "before torch 1.6", "safetensors"])
def test_every_container_holds_the_same(
    variant: str, tensors: Tensors, tokenizer: Path, original: VideoCrafterPipeline, tmp_path: Path
) -> None:
    path = tmp_path / ("model.safetensors" if variant == "safetensors" else "model.pt")
    if variant == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    elif variant == "before torch 1.6":
        torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save(_deepspeed(tensors) if variant == "deepspeed" else tensors, path)
    convert(path, tmp_path / "out", tokenizer=str(tokenizer))
    assert_same(VideoCrafterPipeline.from_pretrained(tmp_path / "out"), original)


def test_precision_and_files_of_bounded_size(
    model: Path, tokenizer: Path, original: VideoCrafterPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "_SHARD", 200_000)
    convert(model, tmp_path / "out", tokenizer=str(tokenizer), dtype=torch.float16)
    files = list((tmp_path / "out").rglob("*.safetensors"))
    assert len(files) > len(COMPONENTS)
    for file in files:
        with safe_open(file, framework="pt") as weights:
            assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118
    pipe = load(str(tmp_path / "out"), device="cpu", dtype="float16")
    assert_same(pipe, deepcopy(original).to(torch.float16))


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_the_checkpoint_is_mapped_and_not_read(suffix: str, tmp_path: Path) -> None:
    maps, path = Path("/proc/self/maps"), tmp_path / f"model{suffix}"
    if not maps.exists():
        pytest.skip("this system does not list its memory maps")
    content = {"weight": torch.ones(4)}
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    tensors = read_tensors(path)
    assert str(path) in maps.read_text()
    assert torch.equal(tensors["weight"], content["weight"])


# --- the text encoder against OpenCLIP's own arithmetic


def test_text_encoder_reads_the_layer_before_the_last(original: VideoCrafterPipeline, tensors: Tensors) -> None:
    tokens = torch.randint(
        0, original.text_encoder.config.vocab_size, (2, 16), generator=torch.Generator().manual_seed(3)
    )
    encoder = deepcopy(original.text_encoder).double()
    doubles = {name: tensor.double() for name, tensor in tensors.items()}
    expected = _penultimate(doubles, tokens, encoder.config.num_attention_heads)
    torch.testing.assert_close(encoder(tokens).last_hidden_state, expected)


def _penultimate(tensors: Tensors, tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """OpenCLIP's transformer without its last block, then ln_final, in torch's own functions."""
    model = {name.removeprefix("cond_stage_model.model."): tensor for name, tensor in tensors.items()}
    blocks = 1 + max(int(match[1]) for name in model if (match := re.match(r"transformer\.resblocks\.(\d+)", name)))
    width = model["ln_final.weight"].shape

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, width, model[f"{name}.weight"], model[f"{name}.bias"])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, model[f"{name}.weight"], model[f"{name}.bias"])

    x = model["token_embedding.weight"][tokens] + model["positional_embedding"]
    for block in range(blocks - 1):
        name = f"transformer.resblocks.{block}"
        attention = torch.nn.MultiheadAttention(width[0], heads, batch_first=True, dtype=torch.float64)
        start = f"{name}.attn."
        attention.load_state_dict(
            {key.removeprefix(start): value for key, value in model.items() if key.startswith(start)}
        )
        y = normed(x, f"{name}.ln_1")
        mask = torch.full((tokens.shape[1],) * 2, float("-inf"), dtype=torch.float64).triu(1)
        x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
        x = x + linear(functional.gelu(linear(normed(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")), f"{name}.mlp.c_proj")
    return normed(x, "ln_final")


# --- the published names


def test_every_published_tensor_is_used_exactly_once(fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real configurations
    content = json.loads((fixtures / "keys_512v2.json").read_text())
    published = {UNET + name: shape for name, shape in content["unet"].items()}
    published |= content["vae"] | content["text_encoder"] | content["checkpoint"]["top_level_buffers"]
    models = conversion._empty_models()
    parts = {
        "unet": unet_parts(models["unet"].state_dict(), 2),
        "vae": vae_parts(models["vae"].state_dict()),
        "text_encoder": text_parts(models["text_encoder"].state_dict()),
    }
    used = [part for component in parts.values() for part in component.values()]
    assert len(set(used)) == len(used)
    assert {part.key for part in used} | {key for key in published if left_out(key, 23)} == published.keys()
    assert not [part.key for part in used if left_out(part.key, 23)]
    for key in {part.key for part in used if part.of == 3}:
        assert sorted(part.nth for part in used if part.key == key) == [0, 1, 2]
    for component, places in parts.items():
        for name, parameter in models[component].state_dict().items():
            tensor = torch.empty(published[places[name].key], device="meta")
            assert conversion._part(tensor, places[name], parameter.shape).shape == parameter.shape


# --- what is refused


def refused(checkpoint: Path, because: str, tokenizer: Path | str | None = None) -> None:
    """Refused with one sentence, with nothing left behind."""
    out = checkpoint.parent / "new" / "out"
    with pytest.raises(ByTheWayError, match=re.escape(because)) as refusal:
        convert(checkpoint, out, tokenizer=str(tokenizer) if tokenizer else None)
    assert "\n" not in str(refusal.value)
    assert not out.parent.exists()


def saved(tensors: Tensors, tmp_path: Path) -> Path:
    torch.save({"state_dict": tensors}, tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


def test_missing_and_surplus_keys_are_named(tensors: Tensors, tmp_path: Path) -> None:
    gone = "model.diffusion_model.output_blocks.1.1.conv.weight"
    changed = {name: tensor for name, tensor in tensors.items() if name != gone}
    refused(saved(changed, tmp_path), f"it lacks {gone}.")
    changed |= {"model_ema.decay": torch.zeros(1), "first_stage_model.loss.logvar": torch.zeros(1)}
    refused(
        saved(changed, tmp_path),
        f"it lacks {gone}, and it holds model_ema.decay, first_stage_model.loss.logvar, which VideoCrafter2 does not",
    )


def test_many_missing_keys_are_counted(tensors: Tensors, tmp_path: Path) -> None:
    unet = {name: tensor for name, tensor in tensors.items() if name.startswith(UNET)}
    missing = len({name for name in tensors if not name.startswith(UNET) and not left_out(name, 2)})
    refused(saved(unet, tmp_path), "first_stage_model.encoder.conv_in.weight, first_stage_model.encoder.conv_in.bias")
    refused(saved(unet, tmp_path), f"and {missing - 3} more ({missing} in all)")


def test_another_shape_is_named(tensors: Tensors, tmp_path: Path) -> None:
    key = "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"
    refused(saved(tensors | {key: torch.zeros(64, 32)}, tmp_path), f"{key} has the shape (64, 32) instead of (96, 32)")


def test_another_models_checkpoint(tmp_path: Path) -> None:
    image = {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}
    refused(saved(image, tmp_path), "is no checkpoint of VideoCrafter2: it holds no UNet with its temporal layers")


def test_a_damaged_file(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-1000])
    refused(model, "damaged or cut short")


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"")
    refused(tmp_path / "model.zip", "is no checkpoint: give a file that ends in .safetensors, .ckpt")


class Hostile:
    """Unpickled carelessly, this creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("container", ["pickle", "torch"])
def test_a_pickle_with_code_runs_nothing(container: str, tensors: Tensors, tmp_path: Path) -> None:
    path, content = tmp_path / "model.ckpt", {"state_dict": tensors, "hook": Hostile(tmp_path / "executed")}
    path.write_bytes(pickle.dumps(content, protocol=2)) if container == "pickle" else torch.save(content, path)
    refused(path, "holds something other than tensors, which is not opened")
    with pytest.raises(ByTheWayError, match="holds something other than tensors"):
        load(str(path), device="cpu")
    assert not (tmp_path / "executed").exists()


def test_a_vocabulary_that_cannot_be_had(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begins = f"VideoCrafter2's checkpoint holds no vocabulary, and {VOCABULARY}"
    ends = "or convert it with CLIP's in a folder."
    refused(model, f"{begins} is not on this machine and the hub cannot be reached; check the network, {ends}")
    refused(model, "There is no tokenizer words", tokenizer="words")
    (tmp_path / "empty").mkdir()
    refused(model, "empty holds no tokenizer", tokenizer=tmp_path / "empty")
    monkeypatch.setattr(sources, "hub_file", lambda repository, file: None)
    refused(model, f"{begins} holds no tokenizer: neither tokenizer.json nor vocab.json; give CLIP's, {ends}")
    with pytest.raises(ByTheWayError, match=re.escape(ends)):
        load(str(model), device="cpu")


def test_a_vocabulary_of_another_model(
    model: Path, tokenizer: Path, original: VideoCrafterPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = original.text_encoder.config.vocab_size
    file = tokenizer / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"]["surplus"] = size
    file.write_text(json.dumps(content))
    refused(model, f"knows {size + 1} tokens and the text encoder {size}", tokenizer=tokenizer)


def test_a_folder_that_holds_something_is_kept(model: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    with pytest.raises(ByTheWayError, match="out is there already and is not replaced"):
        convert(model, out, tokenizer=str(tokenizer))
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").unlink()
    convert(model, out, tokenizer=str(tokenizer))
    assert (out / "model_index.json").is_file()


def test_what_is_put_into_the_folder_meanwhile_is_kept(model: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def meddle(written: Written) -> None:
        out.mkdir(exist_ok=True)
        (out / "mine.txt").write_text("kept")

    with pytest.raises(ByTheWayError, match="out is there already and is not replaced"):
        convert(model, out, tokenizer=str(tokenizer), on_write=meddle)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_an_interruption_leaves_nothing(model: Path, tokenizer: Path, tmp_path: Path) -> None:
    def stop(written: Written) -> None:
        raise KeyboardInterrupt

    (tmp_path / "here").mkdir()
    for out in ("out", "new/folders/out"):
        with pytest.raises(KeyboardInterrupt):
            convert(model, tmp_path / "here" / out, tokenizer=str(tokenizer), on_write=stop)
        assert not list((tmp_path / "here").iterdir())


def test_a_full_disk_leaves_nothing(
    model: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tensors: Tensors, file: Path, metadata: dict[str, str]) -> None:
        file.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(conversion, "save_file", fail)
    (tmp_path / "here").mkdir()
    with pytest.raises(ByTheWayError, match=r"here/out cannot be written: I/O error: No space left on device"):
        convert(model, tmp_path / "here" / "out", tokenizer=str(tokenizer))
    assert not list((tmp_path / "here").iterdir())


def test_a_motion_adapter_for_a_video_model(model: Path) -> None:
    with pytest.raises(ByTheWayError, match="is a video model already"):
        load(str(model), motion_adapter="somebody/adapter", device="cpu")
