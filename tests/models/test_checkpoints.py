"""Checkpoint files: read safely, told apart, and AnimateDiff's naming understood."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import MotionAdapter
from safetensors.torch import save_file

from bytheway import ByTheWayError
from bytheway.models import load
from bytheway.models.checkpoints import kind_of, motion_adapter_config, read_tensors
from bytheway.models.motion import load_motion_adapter

Tensors = dict[str, torch.Tensor]


class Hostile:
    """Unpickled carelessly, this creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.fixture(params=["pickle", "newer pickle", "torch"])
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint that runs a command when unpickled, bare or in torch's own format, and the file it would make."""
    path, target = tmp_path / "hostile.ckpt", tmp_path / "executed"
    content = {"state_dict": {"model.diffusion_model.weight": torch.zeros(1)}, "payload": Hostile(target)}
    if request.param == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2 if request.param == "pickle" else 4))
    return path, target


def original_names(adapter: MotionAdapter) -> Tensors:
    """The tensors of an adapter as AnimateDiff's own files name them, with the positional encodings they carry."""
    tensors = {}
    for name, tensor in adapter.state_dict().items():
        name = name.replace(".transformer_blocks.", ".temporal_transformer.transformer_blocks.")
        name = re.sub(r"(motion_modules\.\d+)\.(norm|proj_in|proj_out)\.", r"\1.temporal_transformer.\2.", name)
        name = name.replace(".norm3.", ".ff_norm.")
        name = re.sub(r"\.attn(\d)\.", lambda match: f".attention_blocks.{int(match[1]) - 1}.", name)
        name = re.sub(r"\.norm(\d)\.", lambda match: f".norms.{int(match[1]) - 1}.", name)
        tensors[name.replace(".pos_embed.pe", ".attention_blocks.0.pos_encoder.pe")] = tensor
    return tensors


def assert_same_adapter(loaded: MotionAdapter, adapter: MotionAdapter) -> None:
    theirs = adapter.state_dict()
    ours = loaded.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], msg=name)


# --- hostile and damaged files


def test_hostile_pickle_as_the_model_runs_nothing(hostile: tuple[Path, Path]) -> None:
    path, target = hostile
    with pytest.raises(ByTheWayError, match="holds something other than tensors, which is not opened"):
        load(str(path), motion_adapter="somebody/adapter", device="cpu")
    assert not target.exists()


def test_hostile_pickle_as_the_motion_adapter_runs_nothing(hostile: tuple[Path, Path], image_folder: Path) -> None:
    path, target = hostile
    with pytest.raises(ByTheWayError, match="holds something other than tensors, which is not opened"):
        load(str(image_folder), motion_adapter=str(path), device="cpu")
    assert not target.exists()


def test_hostile_pickle_as_a_lora_runs_nothing(hostile: tuple[Path, Path], video_folder: Path) -> None:
    path, target = hostile
    with pytest.raises(ByTheWayError, match="holds something other than tensors, which is not opened"):
        load(str(video_folder), lora=[str(path)], device="cpu")
    assert not target.exists()


def test_hostile_pickle_in_a_folder_runs_nothing(hostile: tuple[Path, Path], video_folder: Path) -> None:
    path, target = hostile
    (video_folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    path.rename(video_folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ByTheWayError, match="holds something other than tensors, which is not opened"):
        load(str(video_folder), device="cpu")
    assert not target.exists()


def test_the_hostile_pickle_is_one(hostile: tuple[Path, Path]) -> None:
    path, target = hostile
    torch.load(path, weights_only=False) if path.read_bytes()[:2] == b"PK" else pickle.loads(path.read_bytes())
    assert target.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("kept", [0, 10, -50])
def test_file_cut_short(suffix: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    tensors = {"model.diffusion_model.weight": torch.zeros(100)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ByTheWayError, match="damaged or cut short"):
        load(str(path), device="cpu")


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors", ".bin"])
@pytest.mark.parametrize(
    ("content", "because"),
    [
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 18216\n", "a pointer of git-lfs"),
        ("\n<!DOCTYPE html>\n<html><body>Please log in</body></html>\n", "is no checkpoint but a web page"),
        ("<html>Not found</html>", "is no checkpoint but a web page"),
    ],
)
def test_what_downloads_leave_in_the_place_of_a_checkpoint(
    suffix: str, content: str, because: str, image_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_text(content)
    for model, adapter in ((str(path), None), (str(image_folder), str(path))):
        with pytest.raises(ByTheWayError, match=because):
            load(model, motion_adapter=adapter, device="cpu")


def test_text_file_named_as_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_text("soon")
    with pytest.raises(ByTheWayError, match=r"model\.ckpt"):
        load(str(tmp_path / "model.ckpt"), device="cpu")


def test_pickle_of_something_else(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(ByTheWayError, match="is no checkpoint: it holds no tensors by name"):
        load(str(tmp_path / "list.pt"), device="cpu")


def test_only_tensors_by_name_are_taken_out_of_the_wrappers(tmp_path: Path) -> None:
    tensors = {"_forward_module.a": torch.ones(2), "module.b": torch.zeros(1), 7: torch.zeros(1), "epoch": 3}
    torch.save({"module": {"state_dict": tensors}, "optimizer": {"a": torch.zeros(1)}}, tmp_path / "x.ckpt")
    assert read_tensors(tmp_path / "x.ckpt").keys() == {"a", "b"}
    within_itself: dict[str, Any] = {"a": torch.zeros(1)}
    within_itself["state_dict"] = within_itself
    torch.save(within_itself, tmp_path / "y.ckpt")
    assert read_tensors(tmp_path / "y.ckpt").keys() == {"a"}


# --- telling files apart


def test_names_only_reads_the_same_names_and_shapes(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    save_file(tensors, tmp_path / "x.safetensors")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "x.ckpt")
    for path in (tmp_path / "x.safetensors", tmp_path / "x.ckpt"):
        outline = read_tensors(path, names_only=True)
        assert {name: tensor.shape for name, tensor in outline.items()} == {"a": (2, 3), "b": (4,)}
        assert all(tensor.is_meta for tensor in outline.values())
        assert torch.equal(read_tensors(path)["b"], tensors["b"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "image"),
        ("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", "motion"),
        ("down_blocks.0.motion_modules.0.norm.weight", "motion"),
        ("unet.down_blocks.0.motion_modules.0.attn1.processor.to_q_lora.down.weight", "lora"),
        ("encoder.weight", "other"),
    ],
)
def test_kind(name: str, kind: str) -> None:
    assert kind_of([name]) == kind


def test_motion_modules_as_the_model(adapter: MotionAdapter, tmp_path: Path) -> None:
    save_file(original_names(adapter), tmp_path / "motion.safetensors")
    with pytest.raises(ByTheWayError, match="holds motion modules; give it as the motion adapter"):
        load(str(tmp_path / "motion.safetensors"), device="cpu")


def test_lora_as_the_model(tmp_path: Path) -> None:
    save_file({"unet.a.lora.down.weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(ByTheWayError, match="holds a LoRA; give it as one"):
        load(str(tmp_path / "lora.safetensors"), device="cpu")


# --- what is none of these, said as what it is


CONTENTS = {
    "videocrafter1": {
        "model.diffusion_model.init_attn.0.proj_in.weight": (512, 320),
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "model.diffusion_model.input_blocks.1.2.transformer_blocks.0.attn1.relative_position_k.embeddings_table": (33,),
        "cond_stage_model.model.transformer.resblocks.0.ln_1.weight": (1024,),
    },
    "sparsectrl": {
        "module.controlnet_cond_embedding.conv_in.weight": (320, 5, 3, 3),
        "module.down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": (320,),
    },
    "cameractrl": {
        "pose_encoder.encoder_down_conv_blocks.0.0.block1.weight": (4, 4, 3, 3),
        "attention_processor.down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": (4, 4),
    },
    "lycoris": {"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a": (4, 4)},
    "lora": {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (4, 4)},
}
SAID = {
    "videocrafter1": "holds VideoCrafter1, whose UNet is built otherwise",
    "sparsectrl": "holds SparseCtrl in its authors' own format",
    "cameractrl": "holds CameraCtrl, a pose encoder",
    "lycoris": "holds a LoHa, LoKr, OFT or DoRA",
    "lora": "holds a LoRA; give it as one",
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("given_as", ["model", "motion adapter", "lora", "controlnet"])
def test_files_of_other_kinds_are_called_what_they_are(
    kind: str, given_as: str, image_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    if kind == given_as:
        pytest.skip("it is one")
    path = str(tmp_path / "file.ckpt")
    tensors = {name: torch.zeros(1).expand(shape) for name, shape in CONTENTS[kind].items()}
    torch.save({"controlnet" if kind == "sparsectrl" else "state_dict": tensors}, path)
    model, adapter = (path, None) if given_as == "model" else (str(image_folder), str(adapter_folder))
    loras = [path] if given_as == "lora" else []
    adapter = path if given_as == "motion adapter" else adapter
    start: Any = "image" if given_as == "controlnet" else None
    controlnet = path if start else None
    with pytest.raises(ByTheWayError, match=SAID[kind]):
        load(model, motion_adapter=adapter, lora=loras, start=start, controlnet=controlnet, device="cpu")


def test_other_file_as_the_controlnet(image_folder: Path, adapter_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ByTheWayError, match="is a file; give SparseCtrl as a folder or hub id"):
        load(str(image_folder), motion_adapter=str(adapter_folder), start="image", controlnet=str(path), device="cpu")


# --- a training's own checkpoint


def test_motion_modules_are_taken_out_of_a_trainings_checkpoint(
    adapter: MotionAdapter, video_folder: Path, tmp_path: Path
) -> None:
    """The whole UNet as it was trained in parallel, with the step that it had come to."""
    unet = load(str(video_folder), device="cpu").unet.state_dict()
    whole = {name: tensor for name, tensor in unet.items() if ".motion_modules." not in name}
    whole |= with_positions(adapter, torch.clone)
    content = {"epoch": 1, "global_step": 1000, "state_dict": {f"module.{name}": t for name, t in whole.items()}}
    torch.save(content, tmp_path / "checkpoint-epoch-1.ckpt")
    with pytest.warns(UserWarning, match="its motion modules are taken, and the weights of its image model left out"):
        loaded = load_motion_adapter(str(tmp_path / "checkpoint-epoch-1.ckpt"), torch.float32)
    assert_same_adapter(loaded, adapter)


def test_a_tensor_that_makes_a_layout_unknown_is_named(adapter: MotionAdapter, tmp_path: Path) -> None:
    torch.save(original_names(adapter) | {"fps_embedding.linear.weight": torch.zeros(4, 4)}, tmp_path / "fancy.ckpt")
    with pytest.raises(ByTheWayError, match=r"of an unknown layout: fps_embedding\.linear\.weight is missing, of"):
        load_motion_adapter(str(tmp_path / "fancy.ckpt"), torch.float32)


# --- tables of positions


def with_positions(adapter: MotionAdapter, change: Callable[[torch.Tensor], torch.Tensor]) -> Tensors:
    """An adapter as AnimateDiff's files hold it, with a table for each attention."""
    tensors = {}
    for name, tensor in original_names(adapter).items():
        if name.endswith("pos_encoder.pe"):
            for number in (0, 1):
                tensors[name.replace("attention_blocks.0", f"attention_blocks.{number}")] = change(tensor).contiguous()
        else:
            tensors[name] = tensor
    return tensors


def stretched(table: torch.Tensor) -> torch.Tensor:
    """The positions drawn out to twice the length."""
    longer = torch.nn.functional.interpolate(table.mT, scale_factor=2, mode="linear", align_corners=True)
    return longer.mT[:, : table.shape[1]]


def moved(table: torch.Tensor) -> torch.Tensor:
    """Trained positions."""
    return table + torch.randn(table.shape, generator=torch.Generator().manual_seed(table.shape[-1]))


@pytest.mark.parametrize("change", [stretched, moved])
def test_positions_that_are_not_the_plain_sinusoids_are_kept(
    change: Callable[[torch.Tensor], torch.Tensor],
    adapter: MotionAdapter,
    image_folder: Path,
    tmp_path: Path,
    generate: Callable[..., torch.Tensor],
) -> None:
    plain = str(tmp_path / "plain.safetensors")
    save_file(with_positions(adapter, torch.clone), plain)
    save_file(with_positions(adapter, change), tmp_path / "positions.safetensors")
    pipe = load(str(image_folder), motion_adapter=str(tmp_path / "positions.safetensors"), device="cpu")
    by_hand = load(str(image_folder), motion_adapter=plain, device="cpu")
    for made in (pipe, by_hand):
        made.set_progress_bar_config(disable=True)
    vanilla = generate(by_hand)
    for name, table in by_hand.unet.named_buffers():
        if name.endswith("pos_embed.pe"):
            table.copy_(change(table.clone()))
    expected = generate(by_hand)
    assert not torch.allclose(expected, vanilla, atol=1e-3)
    torch.testing.assert_close(generate(pipe), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_positions_rounded_to_another_precision_are_the_plain_ones(
    dtype: torch.dtype, adapter: MotionAdapter, tmp_path: Path
) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in with_positions(adapter, torch.clone).items()}
    torch.save(tensors, tmp_path / "motion.ckpt")
    loaded = load_motion_adapter(str(tmp_path / "motion.ckpt"), torch.float32)
    for name, table in loaded.named_buffers():
        torch.testing.assert_close(table, adapter.get_buffer(name), rtol=0, atol=0)


def test_attentions_with_positions_of_their_own(adapter: MotionAdapter, tmp_path: Path) -> None:
    tensors = with_positions(adapter, torch.clone)
    name = next(name for name in tensors if name.endswith("attention_blocks.1.pos_encoder.pe"))
    tensors[name] = moved(tensors[name])
    save_file(tensors, tmp_path / "motion.safetensors")
    with pytest.raises(ByTheWayError, match=f"its attentions have other positions than their neighbours .{name}"):
        load_motion_adapter(str(tmp_path / "motion.safetensors"), torch.float32)


# --- motion modules in a file


def test_motion_modules_in_animatediffs_naming(adapter: MotionAdapter, tmp_path: Path) -> None:
    torch.save({"state_dict": original_names(adapter)}, tmp_path / "motion.ckpt")
    assert_same_adapter(load_motion_adapter(str(tmp_path / "motion.ckpt"), torch.float32), adapter)


def test_motion_modules_of_a_data_parallel_training(adapter: MotionAdapter, tmp_path: Path) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in original_names(adapter).items()}
    save_file(tensors, tmp_path / "motion.safetensors")
    assert_same_adapter(load_motion_adapter(str(tmp_path / "motion.safetensors"), torch.float32), adapter)


def test_motion_modules_in_diffusers_naming(adapter: MotionAdapter, tmp_path: Path) -> None:
    save_file(dict(adapter.state_dict()), tmp_path / "motion.safetensors")
    assert_same_adapter(load_motion_adapter(str(tmp_path / "motion.safetensors"), torch.float32), adapter)


@pytest.mark.parametrize("keep", ["up_blocks", "norm", "proj_out"])
def test_some_of_the_motion_modules(adapter: MotionAdapter, tmp_path: Path, keep: str) -> None:
    tensors = {name: tensor for name, tensor in adapter.state_dict().items() if keep in name}
    save_file(tensors, tmp_path / "motion.safetensors")
    with pytest.raises(ByTheWayError, match=r"motion\.safetensors"):
        load_motion_adapter(str(tmp_path / "motion.safetensors"), torch.float32)


def test_weights_file_of_a_folder_keeps_the_folders_heads(adapter: MotionAdapter, adapter_folder: Path) -> None:
    loaded = load_motion_adapter(str(adapter_folder / "diffusion_pytorch_model.safetensors"), torch.float32)
    assert_same_adapter(loaded, adapter)
    assert loaded.config.motion_num_attention_heads == 4


def test_releases_of_animatediff_have_eight_heads(adapter: MotionAdapter, tmp_path: Path) -> None:
    save_file(original_names(adapter), tmp_path / "motion.safetensors")
    loaded = load_motion_adapter(str(tmp_path / "motion.safetensors"), torch.float32)
    assert loaded.down_blocks[0].motion_modules[0].transformer_blocks[0].attn1.heads == 8


@pytest.mark.parametrize("middle", [True, False])
def test_layout_is_read_from_the_tensors(middle: bool) -> None:
    adapter = MotionAdapter(
        block_out_channels=(32, 64),
        motion_layers_per_block=1,
        motion_norm_num_groups=8,
        motion_max_seq_length=24,
        use_motion_mid_block=middle,
        conv_in_channels=9,
    )
    assert motion_adapter_config(original_names(adapter)) == {
        "block_out_channels": (32, 64),
        "motion_layers_per_block": 1,
        "motion_transformer_layers_per_block": 1,
        "motion_max_seq_length": 24,
        "use_motion_mid_block": middle,
        "conv_in_channels": 9,
    }


def test_motion_modules_with_parts_missing(adapter: MotionAdapter, tmp_path: Path) -> None:
    tensors = original_names(adapter)
    del tensors["up_blocks.1.motion_modules.0.temporal_transformer.norm.weight"]
    save_file(tensors, tmp_path / "motion.safetensors")
    with pytest.raises(ByTheWayError, match="holds motion modules of an unknown layout"):
        load_motion_adapter(str(tmp_path / "motion.safetensors"), torch.float32)


def test_file_without_motion_modules_as_the_adapter(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ByTheWayError, match="holds no motion modules"):
        load_motion_adapter(str(tmp_path / "other.safetensors"), torch.float32)


def test_adapter_file_brings_an_image_folder_to_motion(
    adapter: MotionAdapter, image_folder: Path, tmp_path: Path, generate: Callable[..., torch.Tensor]
) -> None:
    save_file(original_names(adapter), tmp_path / "motion.safetensors")
    pipe = load(str(image_folder), motion_adapter=str(tmp_path / "motion.safetensors"), device="cpu")
    pipe.set_progress_bar_config(disable=True)
    assert generate(pipe).isfinite().all()
