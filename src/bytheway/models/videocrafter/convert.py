"""VideoCrafter2's published checkpoint, as a pipeline in memory or as a folder in diffusers' layout.

The tensors are read through a memory map and written as they are, so that a conversion needs hardly more memory than
the checkpoint's own pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bytheway.errors import ByTheWayError
from bytheway.files import check_vacant, written
from bytheway.models.checkpoints import kind_of, other_kind, read_tensors
from bytheway.models.registry import VOCABULARY, VOCABULARY_FILES
from bytheway.models.sources import existing_path, is_hub_id, read_json, reading
from bytheway.models.videocrafter.official import Part, left_out, text_parts, unet_parts, vae_parts
from bytheway.models.videocrafter.pipeline import VideoCrafterPipeline
from bytheway.models.videocrafter.scheduler import VideoCrafterScheduler
from bytheway.models.videocrafter.unet import VideoCrafterUNet

# The configurations that the published model has, where they are not the defaults of the classes. A checkpoint itself
# carries none.
PUBLISHED: Final[dict[str, dict[str, Any]]] = {
    "unet": {"sample_size": (40, 64)},
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    },
    # OpenCLIP ViT-H/14 without its last layer.
    "text_encoder": {
        "vocab_size": 49408,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
        "projection_dim": 1024,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 0,
        "architectures": ["CLIPTextModel"],
    },
}
_FILES: Final = {
    "unet": "diffusion_pytorch_model{suffix}.safetensors",
    "vae": "diffusion_pytorch_model{suffix}.safetensors",
    "text_encoder": "model{suffix}.safetensors",
}
_SHARD: Final = 10**9  # bytes of a file of weights, at most: this much memory a change of precision takes
_NAMED: Final = 3  # keys that an error names one by one

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Written:
    """How far a conversion is: bytes of weights written, of how many, and the component just written to."""

    done: int
    total: int
    component: str


def convert(
    checkpoint: Path,
    folder: Path,
    *,
    tokenizer: str | None = None,
    dtype: torch.dtype | None = None,
    on_write: Callable[[Written], None] = lambda written: None,
) -> None:
    """Write the published checkpoint as a folder that `VideoCrafterPipeline.from_pretrained` reads.

    Args:
        checkpoint: a .ckpt, plain or saved by DeepSpeed, or the same tensors as .safetensors.
        folder: where to; it must not be there yet, or be empty.
        tokenizer: folder or hub id of CLIP's vocabulary, which the checkpoint does not hold; by default OpenAI's.
        dtype: precision of the weights; None: that of the checkpoint.
        on_write: hears of every file of weights that is written.

    Raises:
        ByTheWayError: the checkpoint or the tokenizer cannot be read, a tensor is missing, surplus or of another
            shape, or the folder cannot be written. The folder is there in the end wholly or not at all.
    """
    check_vacant(folder)
    models = _empty_models()
    weights = _matched(checkpoint, models)
    pipe = _assembled(models, _tokenizer(tokenizer, models["text_encoder"]))
    total = sum(_bytes(tensor, dtype) for tensors in weights.values() for tensor in tensors.values())
    done = 0
    with written(folder) as draft:
        _save_configurations(pipe, draft)
        for component, tensors in weights.items():
            for size in _save_weights(tensors, draft / component, _FILES[component], dtype):
                done += size
                on_write(Written(done, total, component))
        check_vacant(folder)  # nobody has put anything there meanwhile


def load_checkpoint(checkpoint: Path, dtype: torch.dtype) -> VideoCrafterPipeline:
    """The published checkpoint as a pipeline, with nothing written.

    Raises:
        ByTheWayError: as `convert`.
    """
    models = _empty_models()
    weights = _matched(checkpoint, models)
    tokenizer = _tokenizer(None, models["text_encoder"])
    for component in ("unet", "vae"):
        filled = {name: tensor.to(dtype) for name, tensor in weights[component].items()}
        models[component].load_state_dict(filled, assign=True)
    # Through transformers, for a buffer of this model is in no checkpoint.
    text_encoder = models["text_encoder"]
    models["text_encoder"] = type(text_encoder).from_pretrained(
        None, config=text_encoder.config, state_dict=dict(weights["text_encoder"]), dtype=dtype
    )
    pipe = _assembled(models, tokenizer)
    pipe.register_to_config(_name_or_path=str(checkpoint))
    return pipe


def _empty_models() -> dict[str, Any]:
    """The models with the published configurations, on the meta device."""
    with torch.device("meta"):
        models: dict[str, nn.Module] = {
            "unet": VideoCrafterUNet(**PUBLISHED["unet"]),
            "vae": AutoencoderKL(**PUBLISHED["vae"]),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**PUBLISHED["text_encoder"])),
        }
    return {component: model.eval() for component, model in models.items()}


def _assembled(models: Mapping[str, Any], tokenizer: CLIPTokenizer) -> VideoCrafterPipeline:
    return VideoCrafterPipeline(**models, tokenizer=tokenizer, scheduler=VideoCrafterScheduler())


def _tokenizer(source: str | None, text_encoder: Any) -> CLIPTokenizer:
    if source is not None and existing_path(source) is None and not is_hub_id(source):
        raise ByTheWayError(f"There is no tokenizer {source}: no such folder, and no hub id (owner/name).")
    try:
        return _clip_tokenizer(source or VOCABULARY, text_encoder.config)
    except ByTheWayError as error:
        if source is not None:
            raise
        said = str(error).removesuffix(".")
        raise ByTheWayError(
            f"VideoCrafter2's checkpoint holds no vocabulary, and {said}, or convert it with CLIP's in a folder.",
            setting="tokenizer",
        ) from error


def _clip_tokenizer(source: str, config: Any) -> CLIPTokenizer:
    """The tokenizer of a folder or hub repository, for the text encoder of this configuration."""
    # Where neither is, transformers makes a tokenizer that knows no words.
    if not any(read_json(source, file) for file in VOCABULARY_FILES):
        raise ByTheWayError(f"{source} holds no tokenizer: neither {' nor '.join(VOCABULARY_FILES)}; give CLIP's.")
    with reading(source):
        tokenizer = CLIPTokenizer.from_pretrained(source, model_max_length=config.max_position_embeddings)
    if len(tokenizer) != config.vocab_size:
        raise ByTheWayError(
            f"The tokenizer {source} knows {len(tokenizer)} tokens and the text encoder {config.vocab_size}; give "
            "CLIP's."
        )
    return tokenizer


def _matched(checkpoint: Path, models: Mapping[str, Any]) -> dict[str, Weights]:
    """The parameters of each model by their names there, as views on the checkpoint's tensors."""
    tensors = read_tensors(checkpoint)
    kind = kind_of(tensors)
    if kind != "videocrafter":
        nothing = "is no checkpoint of VideoCrafter2: it holds no UNet with its temporal layers"
        raise other_kind(checkpoint, kind if kind == "videocrafter1" else "other", nothing)
    unet, text_encoder = models["unet"], models["text_encoder"]
    parts = {
        "unet": unet_parts(unet.state_dict(), unet.config.layers_per_block),
        "vae": vae_parts(models["vae"].state_dict()),
        "text_encoder": text_parts(text_encoder.state_dict()),
    }
    used = dict.fromkeys(part.key for component in parts.values() for part in component.values())
    missing = [key for key in used if key not in tensors]
    layers = text_encoder.config.num_hidden_layers
    surplus = [key for key in tensors if key not in used and not left_out(key, layers)]
    if missing or surplus:
        raise ByTheWayError(f"{checkpoint} is no whole checkpoint of VideoCrafter2: {_difference(missing, surplus)}.")
    try:
        return {
            component: {
                name: _part(tensors[parts[component][name].key], parts[component][name], parameter.shape)
                for name, parameter in models[component].state_dict().items()
            }
            for component in parts
        }
    except ByTheWayError as error:
        raise ByTheWayError(f"{checkpoint} is no checkpoint of VideoCrafter2: {error}") from None


def _difference(missing: list[str], surplus: list[str]) -> str:
    said = []
    if missing:
        said.append(f"it lacks {_first(missing)}")
    if surplus:
        said.append(f"it holds {_first(surplus)}, which VideoCrafter2 does not have")
    return ", and ".join(said)


def _first(keys: list[str]) -> str:
    rest = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {rest} more ({len(keys)} in all)" if rest > 0 else "")


def _part(tensor: Tensor, part: Part, shape: torch.Size) -> Tensor:
    """The part of a tensor that makes a parameter of this shape; convolutions of width 1 become linear layers."""
    whole = (shape[0] * part.of, *shape[1:])
    pointwise = tensor.shape[len(shape) :]
    if tensor.shape[: len(shape)] != whole or any(size != 1 for size in pointwise):
        raise ByTheWayError(f"{part.key} has the shape {tuple(tensor.shape)} instead of {whole}.")
    return tensor[part.nth * shape[0] : (part.nth + 1) * shape[0]].reshape(shape)


def _save_configurations(pipe: VideoCrafterPipeline, folder: Path) -> None:
    """Everything of a pipeline but its weights."""
    pipe.save_config(folder)
    for component in ("unet", "vae"):
        getattr(pipe, component).save_config(folder / component)
    pipe.text_encoder.config.save_pretrained(folder / "text_encoder")
    pipe.tokenizer.save_pretrained(folder / "tokenizer")
    pipe.scheduler.save_pretrained(folder / "scheduler")


def _save_weights(tensors: Weights, folder: Path, pattern: str, dtype: torch.dtype | None) -> Iterable[int]:
    """Write the weights file by file, and give the bytes of each as soon as it is there."""
    planned = {name: torch.empty_like(tensor, dtype=dtype, device="meta") for name, tensor in tensors.items()}
    plan = split_torch_state_dict_into_shards(planned, filename_pattern=pattern, max_shard_size=_SHARD)
    for file, names in plan.filename_to_tensors.items():
        shard = {name: tensors[name].to(dtype or tensors[name].dtype).contiguous() for name in names}
        try:
            save_file(shard, folder / file, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk
            raise OSError(str(error)) from error
        yield sum(_bytes(tensor, None) for tensor in shard.values())
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        text = json.dumps(index, indent=2) + "\n"
        (folder / f"{pattern.format(suffix='')}.index.json").write_text(text, encoding="utf-8")


def _bytes(tensor: Tensor, dtype: torch.dtype | None) -> int:
    return tensor.numel() * (dtype or tensor.dtype).itemsize
