"""Checkpoint files: read safely, told apart by their tensors, renamed from AnimateDiff's naming to diffusers'."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from zipfile import is_zipfile

from bytheway.errors import ByTheWayError
from bytheway.models.sources import CHECKPOINT_SUFFIXES, reading

if TYPE_CHECKING:
    from torch import Tensor

CheckpointKind = Literal[
    "image", "motion", "lora", "lycoris", "videocrafter", "videocrafter1", "sparsectrl", "cameractrl", "other"
]
# What is said of a file that was given as something else.
_SENTENCES: Final[Mapping[str, tuple[str, str]]] = {
    "image": ("holds an image model; give it as the model", "model"),
    "motion": ("holds motion modules; give it as the motion adapter of a model", "motion_adapter"),
    "lora": ("holds a LoRA; give it as one, on top of a model", "lora"),
    "lycoris": (
        "holds a LoHa, LoKr, OFT or DoRA, which are other kinds of changes than a LoRA; give a LoRA, or a model into "
        "which it is merged",
        "lora",
    ),
    "videocrafter": ("holds VideoCrafter2, or a model of its kind; give it as the model", "model"),
    "videocrafter1": (
        "holds VideoCrafter1, whose UNet is built otherwise than VideoCrafter2's and is not read; take VideoCrafter2",
        "model",
    ),
    "sparsectrl": (
        "holds SparseCtrl in its authors' own format, which is not read; take it in diffusers' format, such as "
        "sparsectrl-rgb or sparsectrl-scribble",
        "controlnet",
    ),
    "cameractrl": (
        "holds CameraCtrl, a pose encoder for AnimateDiff that no pipeline here has a place for; leave it out",
        "motion_adapter",
    ),
}

_UNET = ("down_blocks.", "mid_block.", "up_blocks.")
# AnimateDiff's motion modules call the parts of a transformer block by these names; diffusers by those.
_RENAMES = (
    (".temporal_transformer.", "."),
    (".attention_blocks.0.", ".attn1."),
    (".attention_blocks.1.", ".attn2."),
    (".norms.0.", ".norm1."),
    (".norms.1.", ".norm2."),
    (".ff_norm.", ".norm3."),
)
_POSITIONS = ("pos_encoder.pe", "pos_embed.pe")
_TABLE_OF_AN_ATTENTION = re.compile(r"\.attn\d\.pos_encoder\.pe$")
# What is like a LoRA and is none: LoHa, LoKr, OFT and DoRA.
_BEYOND_LORA = (".hada_", ".lokr_", ".oft_", ".dora_scale")
# A layer of a LoRA in MotionDirector's naming, AnimateDiff's, or that of diffusers' older trainers.
_LORA_LAYER = re.compile(r"(.+?)(?:\.processor)?\.(\w+)_lora\.(down|up)\.weight")
# Data-parallel training leaves the one on every name, DeepSpeed the other.
_TRAINERS_PREFIX = re.compile(r"^(module|_forward_module)\.")


def read_tensors(path: Path, *, names_only: bool = False) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a pickled checkpoint, which is opened for tensors and nothing else.

    They lie in a memory map of the file where its format allows it: none is read before it is used.

    Args:
        path: the file.
        names_only: read names and shapes alone; the tensors are on the meta device.

    Raises:
        ByTheWayError: the file has no ending of checkpoints, is damaged, cut short, or a pickle that holds anything but
            tensors.
    """
    suffix = path.suffix.lower()
    if suffix not in CHECKPOINT_SUFFIXES:
        raise ByTheWayError(f"{path} is no checkpoint: give a file that ends in {', '.join(CHECKPOINT_SUFFIXES)}.")
    _check_is_binary(path)
    read = _read_safetensors if suffix == ".safetensors" else _read_pickle
    return {_TRAINERS_PREFIX.sub("", name): tensor for name, tensor in read(path, names_only).items()}


def kind_of(names: Iterable[str]) -> CheckpointKind:
    """What a checkpoint holds, by the names of its tensors."""
    names = list(names)
    if any(mark in name for name in names for mark in _BEYOND_LORA):
        return "lycoris"
    if any("lora" in name for name in names):
        return "lora"
    if any(name.startswith("pose_encoder.") for name in names):
        return "cameractrl"
    if any(name.startswith(("controlnet_cond_embedding.", "input_hint_block.")) for name in names):
        return "sparsectrl"
    if any(".temopral_conv." in name for name in names):  # sic
        return "videocrafter"
    if any(name.startswith("model.diffusion_model.init_attn.") for name in names):
        return "videocrafter1"
    if any(name.startswith("model.diffusion_model.") for name in names):
        return "image"
    if any(".motion_modules." in name for name in names):
        return "motion"
    return "other"


def other_kind(path: str | Path, kind: CheckpointKind, otherwise: str) -> ByTheWayError:
    """What to say of a file that holds something else than was expected of it.

    Args:
        path: the file.
        kind: what it holds.
        otherwise: what is said of the file where that is unknown: a sentence without its subject and full stop.
    """
    said, setting = _SENTENCES.get(kind, (otherwise, None))
    return ByTheWayError(f"{path} {said}.", setting=setting)


def diffusers_motion_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of motion modules by diffusers' names, without their tables of positions."""
    return {_diffusers_name(name): tensor for name, tensor in tensors.items() if not name.endswith(_POSITIONS)}


def position_tables(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tables of positions that are not the plain sinusoids, which diffusers computes itself, by its names.

    Raises:
        LookupError: the attentions of a transformer block have tables of their own; in diffusers they share one.
    """
    tables: dict[str, Tensor] = {}
    for name, table in tensors.items():
        if not name.endswith(_POSITIONS):
            continue
        ours = _TABLE_OF_AN_ATTENTION.sub(".pos_embed.pe", _diffusers_name(name))
        if ours in tables and not tables[ours].float().equal(table.float()):
            raise LookupError(f"its attentions have other positions than their neighbours ({name})")
        tables[ours] = table
    return {name: table for name, table in tables.items() if not _is_sinusoid(table)}


def _is_sinusoid(table: Tensor) -> bool:
    """Whether a table (1, length, channels) is the plain one, but for the rounding of its precision."""
    import torch
    from diffusers.models.embeddings import SinusoidalPositionalEmbedding

    if table.ndim != 3 or table.shape[-1] % 2:
        return False
    plain = SinusoidalPositionalEmbedding(table.shape[-1], max_seq_length=table.shape[1]).pe
    tolerance = max(torch.finfo(table.dtype).eps, 1e-4)  # float32 computes the frequencies no better
    return torch.allclose(table.float(), plain, rtol=0, atol=tolerance)


def diffusers_lora_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a LoRA on a UNet's layers by diffusers' names, whatever trainer wrote it; others keep theirs."""
    return {_lora_name(name): tensor for name, tensor in tensors.items()}


def _lora_name(name: str) -> str:
    inner = name.removeprefix("unet.")
    layer = _LORA_LAYER.fullmatch(_diffusers_name(inner))
    if not inner.startswith(_UNET):
        return name
    if layer is None:
        return f"unet.{_diffusers_name(inner)}"
    head, last, side = layer.groups()
    return f"unet.{head}.{'to_out.0' if last == 'to_out' else last}.lora.{side}.weight"


def _diffusers_name(name: str) -> str:
    for theirs, ours in _RENAMES:
        name = name.replace(theirs, ours)
    return name


def motion_adapter_config(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The arguments of diffusers' `MotionAdapter` that fit these motion modules, in either naming.

    Shapes tell everything but the number of heads, which is 8 in every AnimateDiff release, and the groups of the
    norms, which are 32.

    Raises:
        LookupError: a tensor that tells a width is missing, or one has too few axes.
    """
    blocks = _count(tensors, r"down_blocks\.(\d+)\.")
    widths = [_width(tensors, block) for block in range(blocks)]
    encodings = [tensor for name, tensor in tensors.items() if name.endswith(_POSITIONS)]
    conv_in = tensors.get("conv_in.weight")
    return {
        "block_out_channels": tuple(widths),
        "motion_layers_per_block": _count(tensors, r"down_blocks\.0\.motion_modules\.(\d+)\."),
        "motion_transformer_layers_per_block": _count(
            tensors, r"down_blocks\.0\.motion_modules\.0\..*transformer_blocks\.(\d+)\."
        ),
        "motion_max_seq_length": max((tensor.shape[1] for tensor in encodings), default=32),
        "use_motion_mid_block": any(name.startswith("mid_block.") for name in tensors),
        "conv_in_channels": None if conv_in is None else conv_in.shape[1],
    }


def _check_is_binary(path: Path) -> None:
    """Raise ByTheWayError for what lies in the place of a checkpoint where a download went wrong."""
    with reading(path), path.open("rb") as file:
        begins = file.read(256).lstrip().lower()
    if begins.startswith(b"version https://git-lfs"):
        raise ByTheWayError(f"{path} is no checkpoint but a pointer of git-lfs to one; fetch it with: git lfs pull")
    if begins.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ByTheWayError(f"{path} is no checkpoint but a web page; download the file again, logged in if need be.")


def _read_safetensors(path: Path, names_only: bool) -> dict[str, Tensor]:
    import torch
    from safetensors import safe_open

    with reading(path), safe_open(path, framework="pt") as file:
        names = file.keys()
        if names_only:
            return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in names}
        return {name: file.get_tensor(name) for name in names}


def _read_pickle(path: Path, names_only: bool) -> dict[str, Tensor]:
    import torch

    with reading(path):
        try:
            # The format of torch before 1.6 is no zip archive, and cannot be mapped.
            mapped = not names_only and is_zipfile(path)
            content = torch.load(path, map_location="meta" if names_only else "cpu", weights_only=True, mmap=mapped)
        except (EOFError, RuntimeError) as error:
            message = f"The weights of {path} are damaged or cut short; download or save them again."
            raise ByTheWayError(message) from error
    for _ in range(2):  # one in the other, at most
        content = _inner(content) or content
    if not isinstance(content, dict):
        raise ByTheWayError(f"{path} is no checkpoint: it holds no tensors by name.")
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, torch.Tensor)}


def _inner(content: Any) -> dict[str, Any] | None:
    """The dictionary of tensors that a trainer's checkpoint wraps in others: Lightning's, or DeepSpeed's."""
    wrapped = (content.get(key) for key in ("state_dict", "module", "controlnet")) if isinstance(content, dict) else ()
    return next((inner for inner in wrapped if isinstance(inner, dict)), None)


def _count(tensors: Iterable[str], pattern: str) -> int:
    found = (re.match(pattern, name) for name in tensors)
    return 1 + max((int(match.group(1)) for match in found if match), default=-1)


def _width(tensors: dict[str, Tensor], block: int) -> int:
    name = re.compile(rf"down_blocks\.{block}\.motion_modules\.0\.(temporal_transformer\.)?proj_out\.weight")
    found = [tensor for key, tensor in tensors.items() if name.fullmatch(key)]
    if not found:
        raise LookupError(f"it has no motion_modules.0.proj_out in down_blocks.{block}")
    return found[0].shape[0]
