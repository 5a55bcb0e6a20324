"""Motion adapters (AnimateDiff's motion modules), and image models brought to motion by them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bytheway.errors import ByTheWayError
from bytheway.models.checkpoints import diffusers_motion_names, kind_of, motion_adapter_config, read_tensors
from bytheway.models.sources import existing_path, is_hub_id, read_json, reading

if TYPE_CHECKING:
    import torch
    from diffusers import AnimateDiffPipeline, MotionAdapter, StableDiffusionPipeline

# What AnimateDiff was trained with, and what its motion modules need of a base model's scheduler.
_SCHEDULER = {"beta_schedule": "linear", "clip_sample": False, "steps_offset": 1, "timestep_spacing": "linspace"}


def load_motion_adapter(source: str, dtype: torch.dtype) -> MotionAdapter:
    """The motion adapter in a folder, a hub repository, or a file in AnimateDiff's or diffusers' naming.

    Raises:
        ByTheWayError: there is none there, or it cannot be read.
    """
    from diffusers import MotionAdapter

    path = existing_path(source)
    if path is not None and path.is_file():
        return _from_file(path).to(dtype)
    if path is None and not is_hub_id(source):
        raise ByTheWayError(f"There is no motion adapter {source}: no such file or folder, and no hub id (owner/name).")
    config = read_json(source, "config.json")
    if config is None or config.get("_class_name") != "MotionAdapter":
        raise ByTheWayError(f"{source} holds no motion adapter: its config.json does not say MotionAdapter.")
    with reading(source):
        return MotionAdapter.from_pretrained(source, dtype=dtype)


def animate(
    image: StableDiffusionPipeline, image_name: str, adapter: MotionAdapter, adapter_name: str
) -> AnimateDiffPipeline:
    """The text-to-video pipeline of an image model and a motion adapter, with the scheduler that AnimateDiff wants.

    Raises:
        ByTheWayError: the adapter was made for a UNet of other widths or depth.
    """
    from diffusers import AnimateDiffPipeline, DDIMScheduler

    unet, made_for = image.unet.config, adapter.config
    widths, layers = list(unet.block_out_channels), unet.layers_per_block
    if list(made_for.block_out_channels) != widths or made_for.motion_layers_per_block != layers:
        raise ByTheWayError(
            f"The motion adapter {adapter_name} does not fit {image_name}: it was made for a UNet of widths "
            f"{list(made_for.block_out_channels)} with {made_for.motion_layers_per_block} layers a block, this one has "
            f"{widths} with {layers}; AnimateDiff's adapters go with Stable Diffusion 1.5 models."
        )
    pipe = AnimateDiffPipeline(
        vae=image.vae,
        text_encoder=image.text_encoder,
        tokenizer=image.tokenizer,
        unet=image.unet,
        motion_adapter=adapter,
        scheduler=DDIMScheduler.from_config(image.scheduler.config, **_SCHEDULER),
    )
    pipe.register_to_config(_name_or_path=image_name)
    return pipe


def _from_file(path: Path) -> MotionAdapter:
    from diffusers import MotionAdapter

    tensors = read_tensors(path)
    if kind_of(tensors) != "motion":
        raise ByTheWayError(f"{path} holds no motion modules; give a file or folder of AnimateDiff's motion modules.")
    config = _config_beside(path) or motion_adapter_config(tensors)
    with reading(path):
        adapter = MotionAdapter.from_config(config)
    weights = diffusers_motion_names(tensors)
    expected = {name: tensor.shape for name, tensor in adapter.state_dict().items() if "pos_embed" not in name}
    if {name: tensor.shape for name, tensor in weights.items()} != expected:
        raise ByTheWayError(f"{path} holds motion modules of an unknown layout: its tensors are not a MotionAdapter's.")
    adapter.load_state_dict(weights, strict=False)
    return adapter


def _config_beside(path: Path) -> dict[str, Any] | None:
    """The config.json in the folder of a diffusers weights file, which says more than the shapes."""
    config = read_json(str(path.parent), "config.json")
    return config if config is not None and config.get("_class_name") == "MotionAdapter" else None
