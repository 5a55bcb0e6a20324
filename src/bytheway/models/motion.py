"""Motion adapters (AnimateDiff's motion modules), and image models brought to motion by them."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bytheway.errors import ByTheWayError, ByTheWayWarning
from bytheway.families.animatediff import ANIMATED
from bytheway.families.family import SamplerDefaults
from bytheway.models.checkpoints import (
    diffusers_motion_names,
    kind_of,
    motion_adapter_config,
    other_kind,
    position_tables,
    read_tensors,
)
from bytheway.models.components import check_config, check_whole, from_pretrained
from bytheway.models.registry import model_of_parts
from bytheway.models.sources import downloaded, existing_path, hub_file_of, is_hub_id, read_json, reading

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline, MotionAdapter


def load_motion_adapter(source: str, dtype: torch.dtype) -> MotionAdapter:
    """The motion adapter in a folder, a hub repository, or a file in AnimateDiff's or diffusers' naming.

    A file of a hub repository is named `owner/name:file`.

    Raises:
        ByTheWayError: there is none there, or it cannot be read.
    """
    from diffusers import MotionAdapter

    hub_file = hub_file_of(source)
    path = downloaded(*hub_file) if hub_file is not None else existing_path(source)
    if path is not None and path.is_file():
        adapter = _from_file(path).to(dtype)
        adapter.register_to_config(_name_or_path=source)
        return adapter
    if path is None and not is_hub_id(source):
        raise ByTheWayError(f"There is no motion adapter {source}: no such file or folder, and no hub id (owner/name).")
    config = read_json(source, "config.json")
    if config is None or config.get("_class_name") != "MotionAdapter":
        raise ByTheWayError(f"{source} holds no motion adapter: its config.json does not say MotionAdapter.")
    check_config(config, f"config.json of {source}")
    with reading(source):
        read: MotionAdapter = from_pretrained(MotionAdapter, source, dtype=dtype)
    check_whole(read, "motion adapter", source)
    return read


def animate(image: Any, image_name: str, adapter: MotionAdapter, adapter_name: str) -> DiffusionPipeline:
    """The pipeline of an image model and a motion adapter, with the scheduler that the adapter's makers use.

    Raises:
        ByTheWayError: the adapter was made for a UNet of other widths or depth, or this version of diffusers does not
            have its pipeline.
    """
    import diffusers

    _check_fit(image, image_name, adapter, adapter_name)
    known = model_of_parts(adapter_name)
    sampler = known.sampler if known is not None else SamplerDefaults()
    with reading(image_name):  # which checks what its scheduler says no better than to compute with it
        scheduler = getattr(diffusers, sampler.scheduler).from_config(
            image.scheduler.config, **sampler.scheduler_config
        )
    # PIA's motion modules come with a convolution that takes an image beside the latents.
    name = "PIAPipeline" if adapter.config.conv_in_channels else ANIMATED[type(image).__name__]
    pipeline_class = getattr(diffusers, name, None)
    if pipeline_class is None:
        raise ByTheWayError(f"{adapter_name} needs {name}, which this version of diffusers does not have.")
    known_parts = inspect.signature(pipeline_class.__init__).parameters
    parts = {part: component for part, component in image.components.items() if part in known_parts}
    pipe = pipeline_class(**parts | {"motion_adapter": adapter, "scheduler": scheduler})
    # diffusers copies every part of the image model's UNet but this one, which reads Stable Diffusion XL's sizes.
    if hasattr(image.unet, "add_embedding"):
        pipe.unet.add_embedding.load_state_dict(image.unet.add_embedding.state_dict())
    pipe.unet.eval()
    pipe.register_to_config(_name_or_path=image_name)
    return pipe


def _check_fit(image: Any, image_name: str, adapter: MotionAdapter, adapter_name: str) -> None:
    unet, made_for = image.unet.config, adapter.config
    widths, layers = list(unet.block_out_channels), unet.layers_per_block
    if list(made_for.block_out_channels) != widths or made_for.motion_layers_per_block != layers:
        raise ByTheWayError(
            f"The motion adapter {adapter_name} does not fit {image_name}: it was made for a UNet of widths "
            f"{list(made_for.block_out_channels)} with {made_for.motion_layers_per_block} layers a block, this one has "
            f"{widths} with {layers}; take an adapter for this kind of image model (Stable Diffusion 1.5 or XL)."
        )


def _from_file(path: Path) -> MotionAdapter:
    from diffusers import MotionAdapter

    tensors = read_tensors(path)
    kind = kind_of(tensors)
    if kind != "motion":
        nothing = "holds no motion modules; give a file or folder of AnimateDiff's motion modules"
        raise other_kind(path, kind, nothing)
    if any(".resnets." in name for name in tensors):  # a training's own checkpoint, of the whole UNet
        warnings.warn(
            f"{path} holds a whole UNet; its motion modules are taken, and the weights of its image model left out.",
            ByTheWayWarning,
            stacklevel=5,
        )
        tensors = {name: tensor for name, tensor in tensors.items() if ".motion_modules." in name}
    with reading(path):
        adapter = MotionAdapter.from_config(_config_beside(path) or motion_adapter_config(tensors))
        tables = position_tables(tensors)
    weights = diffusers_motion_names(tensors)
    expected = {name: tensor.shape for name, tensor in adapter.state_dict().items() if "pos_embed" not in name}
    found = {name: tensor.shape for name, tensor in weights.items()}
    if found != expected:
        one = min(name for name, _ in found.items() ^ expected.items())
        raise ByTheWayError(
            f"{path} holds motion modules of an unknown layout: {one} is missing, of another shape or too many."
        )
    ours = adapter.state_dict()
    if any(ours[name].shape != table.shape for name, table in tables.items()):
        raise ByTheWayError(f"{path} holds tables of positions of different lengths, which diffusers does not have.")
    adapter.load_state_dict(weights | tables, strict=False)
    return adapter


def _config_beside(path: Path) -> dict[str, Any] | None:
    """The config.json in the folder of a diffusers weights file, which says more than the shapes."""
    config = read_json(str(path.parent), "config.json")
    return config if config is not None and config.get("_class_name") == "MotionAdapter" else None
