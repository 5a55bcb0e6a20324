"""LoRAs: found, read, put on a pipeline with their weights."""

from __future__ import annotations

import filecmp
import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bytheway.errors import ByTheWayError, ByTheWayWarning
from bytheway.models.checkpoints import diffusers_lora_names, kind_of, other_kind, read_tensors
from bytheway.models.sources import downloaded, existing_path, hub_file, hub_file_of, is_hub_id, reading

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor

_FILES: Final = ("pytorch_lora_weights.safetensors", "diffusion_pytorch_model.safetensors")
_INSTALL_PEFT: Final = 'in a checkout of bytheway: pip install -c constraints.txt ".[lora]"'
# What follows the name of a layer in the names of its two matrices.
_MATRIX: Final = re.compile(r"[._]lora(?:_linear_layer)?[._](down|up|A|B)\.weight$")
_NAMED: Final = 3  # layers that a sentence names one by one


def add_loras(pipe: DiffusionPipeline, loras: Sequence[str], own: Sequence[str] = ()) -> None:
    """Puts LoRAs on the pipeline, each a folder, hub id or file, followed by `=weight` where it is not 1.

    A file of a hub repository is named `owner/name:file`. Layers that find no place are said in a warning.

    Args:
        pipe: what they are put on.
        loras: those that are asked for.
        own: those that belong to the model. One that is asked for as well, by its name, its file's name or a copy of
            the file, is put on once, with the weight asked for; with the weight 0 it is left out.

    Raises:
        ByTheWayError: one cannot be found or read, most of its layers find no place in the pipeline, the pipeline takes
            none, or peft is not installed.
    """
    wanted = [split_weight(lora) for lora in loras]
    wanted = [*_own_loras(own, wanted), *wanted]
    belonging = {_file_name(split_weight(lora)[0]) for lora in own}
    wanted = [(source, weight) for source, weight in wanted if weight or _file_name(source) not in belonging]
    if not wanted:
        return
    from diffusers.utils import is_peft_available

    if not is_peft_available():
        raise ByTheWayError(f"LoRAs need the package peft; install it {_INSTALL_PEFT}")
    if not hasattr(pipe, "load_lora_weights"):
        raise ByTheWayError(f"This model ({type(pipe).__name__}) takes no LoRA; leave it out.")
    weights = {}
    for number, (source, weight) in enumerate(wanted, start=1):
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


def _own_loras(own: Sequence[str], wanted: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The model's own LoRAs that are not asked for as well."""
    left = []
    for lora in own:
        source, usual = split_weight(lora)
        again = next((one for one in wanted if _file_name(one[0]) == _file_name(source)), None)
        if again is None:
            file = _find_own(source)
            again = next((one for one in wanted if _is_copy(one[0], file)), None)
        if again is None:
            left.append((source, usual))
        elif again[1]:
            warnings.warn(
                f"The LoRA {again[0]} belongs to this model, which has it on at {usual:g} already; it is put on once, "
                f"at {again[1]:g}.",
                ByTheWayWarning,
                stacklevel=4,
            )
    return left


def _find_own(source: str) -> Path:
    try:
        return _find(source)
    except ByTheWayError as error:
        said = str(error).removesuffix(".")
        raise ByTheWayError(f"{said}, or leave this LoRA of the model out: {source}=0.", setting="lora") from error


def _file_name(source: str) -> str:
    """By which a LoRA is known again: its file's name where it is given by file, else its hub id or folder."""
    in_repository = hub_file_of(source)
    path = Path(source if in_repository is None else in_repository[1])
    return path.name if path.suffix else source


def _is_copy(source: str, file: Path) -> bool:
    path = existing_path(source)
    return path is not None and path.is_file() and filecmp.cmp(path, file, shallow=False)


def _add(pipe: DiffusionPipeline, source: str, adapter: str) -> None:
    tensors = diffusers_lora_names(_read(source))
    with reading(source), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several LoRAs are what is wanted
        given = _layers_given(pipe, tensors)
        if half := [layer for layer, matrices in given.items() if matrices != 2]:
            raise ByTheWayError(
                f"The LoRA {source} is not whole: {_first(half)} have one matrix of two; download or save it again."
            )
        pipe.load_lora_weights(tensors, adapter_name=adapter)
    lost = sorted(given.keys() - _layers_with(pipe, adapter))
    if 2 * len(lost) > len(given) or not given:
        raise ByTheWayError(
            f"The LoRA {source} does not fit this model: {len(lost)} of its {len(given)} layers find no place in it "
            f"({_first(lost)}); take one that was made for this kind of model.",
            setting="lora",
        )
    if lost:
        warnings.warn(
            f"Of the LoRA {source} {len(lost)} of {len(given)} layers find no place in this model and are left out: "
            f"{_first(lost)}.",
            ByTheWayWarning,
            stacklevel=4,
        )


def _first(layers: Sequence[str]) -> str:
    return ", ".join(layers[:_NAMED]) + (" and so on" if len(layers) > _NAMED else "")


def _read(source: str) -> dict[str, Tensor]:
    tensors = read_tensors(_find(source))
    kind = kind_of(tensors)
    if kind != "lora":
        raise other_kind(source, kind, "holds no LoRA: none of its tensors is named as one")
    return tensors


def _layers_given(pipe: Any, tensors: dict[str, Tensor]) -> Counter[str]:
    """The paths of the layers that a LoRA is for, as diffusers reads its names, and how many matrices each has."""
    from diffusers.loaders import StableDiffusionXLLoraLoaderMixin

    by_level = {"unet_config": pipe.unet.config} if isinstance(pipe, StableDiffusionXLLoraLoaderMixin) else {}
    read = pipe.lora_state_dict(dict(tensors), **by_level)
    names = read[0] if isinstance(read, tuple) else read
    return Counter(_path(_MATRIX.sub("", name)) for name in names if _MATRIX.search(name))


def _layers_with(pipe: DiffusionPipeline, adapter: str) -> set[str]:
    """The paths of the layers that carry a LoRA."""
    from torch import nn

    parts = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
    return {
        _path(f"{name}.{path}")
        for name, part in parts.items()
        for path, module in part.named_modules()
        if adapter in getattr(module, "lora_A", ())
    }


def _path(layer: str) -> str:
    """One name for a layer: there are several for attentions, and for what transformers has flattened."""
    if layer.startswith("text_encoder"):
        return re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", layer.replace(".text_model.", "."))
    return re.sub(r"\.to_out$", ".to_out.0", layer)


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
