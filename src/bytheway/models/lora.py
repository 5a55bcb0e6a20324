"""Motion LoRAs: found, read, put on a pipeline with their weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bytheway.errors import ByTheWayError
from bytheway.models.checkpoints import diffusers_motion_names, kind_of, read_tensors
from bytheway.models.sources import downloaded, existing_path, hub_file, hub_file_of, is_hub_id, reading

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_UNET = ("down_blocks.", "mid_block.", "up_blocks.")
_FILES = ("pytorch_lora_weights.safetensors", "diffusion_pytorch_model.safetensors")


def add_loras(pipe: DiffusionPipeline, loras: Sequence[str]) -> None:
    """Puts LoRAs on the pipeline, each a folder, hub id or file, followed by `=weight` where it is not 1.

    A file of a hub repository is named `owner/name:file`.

    Raises:
        ByTheWayError: one cannot be found or read, does not fit the pipeline, the pipeline takes none, or peft is not
            installed.
    """
    if not loras:
        return
    from diffusers.utils import is_peft_available

    if not is_peft_available():
        raise ByTheWayError('LoRAs need the package peft; install it with: pip install "bytheway[lora]"')
    if not hasattr(pipe, "load_lora_weights"):
        raise ByTheWayError(f"This model ({type(pipe).__name__}) takes no LoRA; leave it out.")
    weights = {}
    for number, lora in enumerate(loras, start=1):
        source, weight = split_weight(lora)
        adapter = f"lora_{number}"
        _add(pipe, source, adapter)
        weights[adapter] = weight
    pipe.set_adapters(list(weights), adapter_weights=list(weights.values()))


def split_weight(lora: str) -> tuple[str, float]:
    """`source=weight` in its two parts; the weight is 1 where none is given.

    Raises:
        ByTheWayError: what follows the last `=` is no finite number.
    """
    source, sign, number = lora.rpartition("=")
    if not sign or existing_path(lora) is not None:
        return lora, 1.0
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise ByTheWayError(f"The weight of the LoRA {source} is {number!r}; give a number, as in {source}=0.8.")
    return source, weight


def _add(pipe: DiffusionPipeline, source: str, adapter: str) -> None:
    path = _find(source)
    tensors = read_tensors(path)
    if kind_of(tensors) != "lora":
        raise ByTheWayError(f"{source} holds no LoRA: none of its tensors is named as one.")
    if all(name.startswith(_UNET) for name in tensors):  # AnimateDiff's own files name the UNet's parts alone
        tensors = {f"unet.{name}": tensor for name, tensor in diffusers_motion_names(tensors).items()}
    with reading(source), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several LoRAs are what is wanted
        pipe.load_lora_weights(tensors, adapter_name=adapter)
    if not any(adapter in names for names in pipe.get_list_adapters().values()):
        raise ByTheWayError(f"The LoRA {source} does not fit this model: none of its layers is in it.")


def _find(source: str) -> Path:
    """The file of a LoRA given by file, folder or hub id."""
    path = existing_path(source)
    if path is not None and path.is_file():
        return path
    if path is not None:
        named = [path / file for file in _FILES if (path / file).is_file()]
        candidates = named or sorted(path.glob("*.safetensors"))
        if len(candidates) != 1:
            raise ByTheWayError(f"{source} holds {len(candidates)} files that may be the LoRA; give the file itself.")
        return candidates[0]
    in_repository = hub_file_of(source)
    if in_repository is not None:
        return downloaded(*in_repository)
    if not is_hub_id(source):
        raise ByTheWayError(f"There is no LoRA {source}: no such file or folder, and no hub id (owner/name).")
    for file in _FILES:
        found = hub_file(source, file)
        if found is not None:
            return found
    raise ByTheWayError(f"{source} holds neither {_FILES[0]} nor {_FILES[1]}; name the LoRA's file as {source}:FILE.")
