"""What VBench's own functions gave, and the networks that they gave it with; see the fixtures' README."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTConfig, ViTModel

from bytheway.clips.frames import Frames

SHARED = Path(__file__).parents[4] / "shared"
VBENCH = SHARED / "fixtures" / "vbench"
INDEX: Mapping[str, Any] = json.loads((VBENCH / "index.json").read_text()) if VBENCH.is_dir() else {}
CASES = {case["clip"]: case for case in INDEX.get("cases", ())}
EXTRA = INDEX.get("extra", {})

needs_goldens = pytest.mark.skipif(not INDEX, reason=f"VBench's numbers are not there ({VBENCH})")
each_case = pytest.mark.parametrize("clip", sorted(CASES) or ["none"])


@cache
def clip_frames(clip: str) -> Frames:
    """The frames of a golden clip, decoded as its README says, and as its hash."""
    case = CASES[clip]
    with Image.open(SHARED / "clips" / case["file"]) as image:
        pictures = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    frames = np.stack(pictures[: case["frames"]])
    assert hashlib.sha256(frames.tobytes()).hexdigest() == case["sha256_of_frames"]
    return frames


def seeded(weights: str, name: str, shape: Iterable[int]) -> Tensor:
    """A tensor made from its name, as the README says."""
    shape = tuple(shape)
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros((), dtype=torch.int64)
    key = np.frombuffer(hashlib.sha256(f"{weights}/{name}".encode()).digest()[:8], "<u8")[0]
    z = key + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    u = (z >> np.uint64(40)).astype(np.float32).reshape(shape) * np.float32(2**-23) - np.float32(1)
    for factor in _factors(weights, name, kind, shape):
        u *= np.float32(factor)
    if kind == "running_var" or (kind == "weight" and len(shape) == 1):
        u += np.float32(1)
    return torch.from_numpy(u)


_GAINS: Mapping[str, Mapping[str, float]] = {
    "dino": {"patch_embed": 6, "qkv": 3},
    "clip": {"conv1": 6, "in_proj_weight": 3},
    "raft": {"flow_head.conv2.weight": 0.033, "encoder.convc1.weight": 6},
}


def _factors(weights: str, name: str, kind: str, shape: tuple[int, ...]) -> tuple[float, ...]:
    """What numbers in [-1, 1) are multiplied by, in order."""
    if name == "update_block.flow_head.conv2.bias":
        return (0,)
    if kind in ("cls_token", "pos_embed", "class_embedding", "positional_embedding"):
        return (0.5,)
    if kind == "running_var":
        return (0.25,)
    if len(shape) == 1:
        return (0.1,)
    if kind == "proj":
        return (np.sqrt(3 / shape[0]),)
    gain = next((gain for part, gain in _GAINS[weights.partition("-")[0]].items() if part in name), 1)
    return gain, np.sqrt(3 / (shape[-1] if kind == "in_proj_weight" else np.prod(shape[1:])))


def dino_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of DINO's VisionTransformer by the names of ViTModel."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        name = re.sub(r"^(cls_token)$", r"embeddings.\1", name).replace("pos_embed", "embeddings.position_embeddings")
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = re.sub(r"^norm\.", "layernorm.", name)
        name = re.sub(r"^blocks\.(\d+)\.", r"layers.\1.", name)
        name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
        name = name.replace("attn.proj", "attention.o_proj")
        if "attn.qkv" in name:
            for one, third in zip("qkv", tensor.chunk(3), strict=True):
                renamed[name.replace("attn.qkv", f"attention.{one}_proj")] = third.clone()
        else:
            renamed[name] = tensor
    return renamed


def clip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of OpenAI's `visual` by the names of CLIPVisionModelWithProjection."""
    ends = {
        "conv1.weight": "embeddings.patch_embedding.weight",
        "class_embedding": "embeddings.class_embedding",
        "positional_embedding": "embeddings.position_embedding.weight",
    }
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "proj":
            renamed["visual_projection.weight"] = tensor.T.contiguous()
            continue
        name = ends.get(name, name)
        name = re.sub(r"^ln_pre", "pre_layrnorm", name)
        name = re.sub(r"^ln_post", "post_layernorm", name)
        name = re.sub(r"^transformer\.resblocks\.", "encoder.layers.", name)
        name = re.sub(r"\.ln_(\d)\.", r".layer_norm\1.", name)
        name = name.replace("mlp.c_fc", "mlp.fc1").replace("mlp.c_proj", "mlp.fc2")
        name = f"vision_model.{name.replace('attn.out_proj', 'self_attn.out_proj')}"
        if "in_proj_" in name:
            for one, third in zip("qkv", tensor.chunk(3), strict=True):
                renamed[name.replace("attn.in_proj_", f"self_attn.{one}_proj.")] = third.clone()
        else:
            renamed[name] = tensor
    return renamed


def dino_shapes(width: int, depth: int, patch: int = 16, tokens: int = 197) -> dict[str, tuple[int, ...]]:
    """Names and shapes of DINO's VisionTransformer."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, tokens, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for layer in range(depth):
        linear = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
        for name, (out, into) in linear.items():
            shapes[f"blocks.{layer}.{name}.weight"] = (out * width, into * width)
            shapes[f"blocks.{layer}.{name}.bias"] = (out * width,)
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{layer}.{norm}.{kind}": (width,) for kind in ("weight", "bias")}
    return shapes


def clip_shapes(width: int, depth: int, patch: int, output: int = 768) -> dict[str, tuple[int, ...]]:
    """Names and shapes of OpenAI's `visual`."""
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,),
        "positional_embedding": ((224 // patch) ** 2 + 1, width),
        "proj": (width, output),
        "conv1.weight": (width, 3, patch, patch),
    }
    norms = ["ln_pre", "ln_post"]
    for layer in range(depth):
        begin = f"transformer.resblocks.{layer}"
        shapes |= {f"{begin}.attn.in_proj_weight": (3 * width, width), f"{begin}.attn.in_proj_bias": (3 * width,)}
        for name, (out, into) in {"attn.out_proj": (1, 1), "mlp.c_fc": (4, 1), "mlp.c_proj": (1, 4)}.items():
            shapes[f"{begin}.{name}.weight"] = (out * width, into * width)
            shapes[f"{begin}.{name}.bias"] = (out * width,)
        norms += [f"{begin}.ln_1", f"{begin}.ln_2"]
    return shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}


def made(weights: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A whole network of tensors made from their names."""
    return {name: seeded(weights, name, shape) for name, shape in shapes.items()}


def save_dino(folder: Path, tensors: Mapping[str, Tensor], heads: int) -> Path:
    """A folder of DINO as transformers saves it; its configuration has ViT's epsilon, as conversions do."""
    _, _, width = tensors["cls_token"].shape
    depth = sum(name.endswith("norm1.weight") for name in tensors)
    config = ViTConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width
    )
    with torch.device("meta"):
        model = ViTModel(config, add_pooling_layer=False)
    model.load_state_dict(dino_names(tensors), assign=True)
    model.save_pretrained(folder)
    return folder


def save_clip(folder: Path, tensors: Mapping[str, Tensor], heads: int) -> Path:
    """A folder of CLIP's image tower as transformers saves it."""
    width, _, patch, _ = tensors["conv1.weight"].shape
    depth = sum(name.endswith("ln_1.weight") for name in tensors)
    config = CLIPVisionConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        patch_size=patch,
        projection_dim=768,
    )
    with torch.device("meta"):
        model = CLIPVisionModelWithProjection(config)
    model.load_state_dict(clip_names(tensors), assign=True, strict=False)  # but for the table of indices
    model.save_pretrained(folder)
    return folder


def stored(name: str) -> dict[str, Tensor]:
    """A file of tensors of the fixtures."""
    return load_file(VBENCH / f"{name}.safetensors")
