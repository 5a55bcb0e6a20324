"""`load`: a name, folder, hub id or checkpoint file in, a pipeline out."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bytheway.errors import ByTheWayError
from bytheway.families.animatediff import EARLY
from bytheway.families.family import Start
from bytheway.families.known import WORLD_KEY, check_supported, families, known_models, world_of
from bytheway.families.pipeline import VideoPipeline
from bytheway.models.checkpoints import kind_of, other_kind, read_tensors
from bytheway.models.components import check_components, check_libraries, read_pipeline
from bytheway.models.lora import add_loras
from bytheway.models.motion import animate, load_motion_adapter
from bytheway.models.placement import resolve_device, resolve_dtype
from bytheway.models.profile import own_settings
from bytheway.models.registry import (
    close_names,
    early_adapter_folder,
    find_model,
    known_model_of,
    packaged_files,
    packaged_folder,
)
from bytheway.models.sources import downloaded, existing_path, is_hub_id, read_json, reading
from bytheway.models.starts import class_starting_from, starting_from

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

_GIVE_MOTION = "give it motion with a motion adapter, for example guoyww/animatediff-motion-adapter-v1-5-3."
_WITH_MOTION = "{model} is a video model already; leave the motion adapter {motion_adapter} out."
# It is a gigabyte that AnimateDiff's pipeline has no place for.
_WITHOUT_SAFETY_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def load(
    model: str,
    *,
    motion_adapter: str | None = None,
    lora: Sequence[str] = (),
    start: Start | None = None,
    controlnet: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> VideoPipeline:
    """The text-to-video pipeline of a name, a diffusers folder, a hub id or a checkpoint file.

    Args:
        model: a name of `known_models()`, a folder with a `model_index.json`, a hub id (`owner/name`), or a
            checkpoint of Stable Diffusion 1.5 or VideoCrafter2 (.safetensors, .ckpt).
        motion_adapter: for image models: a folder, hub id or file of AnimateDiff's motion modules; a file of a hub
            repository is `owner/name:file`.
        lora: folders, hub ids or files of LoRAs, each optionally followed by `=weight`; they come on top of those that
            belong to the motion adapter. One of those given here as well is put on once, with the weight given here;
            with the weight 0 it is left out.
        start: what clips start from beside the prompt: "image", "sketch" or "video".
        controlnet: for images and sketches: SparseCtrl's weights, a known name, folder or hub id.
        device: where to put it; by default the accelerator of this machine, else the CPU.
        dtype: float32, float16 or bfloat16; by default float16 on CUDA and float32 elsewhere.

    Raises:
        ByTheWayError: it cannot be found, read or used; the sentence says what to do. Pickled checkpoints are opened
            for tensors only, so nothing in them is ever run.

    >>> pipe = load("diorama")  # doctest: +SKIP
    >>> pipe = load("model.safetensors", motion_adapter="guoyww/animatediff-motion-adapter-v1-5-3")  # doctest: +SKIP
    """
    target = resolve_device(device)
    precision = resolve_dtype(dtype, target)
    named = find_model(model)
    pipe = _pipeline(model, motion_adapter, start, precision)
    check_components(pipe, model)
    world = world_of(pipe)
    pipe = starting_from(pipe, start, controlnet or (named.controlnet if named else None), precision)
    known = known_model_of(pipe)
    if world is None and known is not None:  # by its parts, whose names are other ones where they are saved
        world = own_settings(pipe)
    if world is not None:  # travels with the pipeline from here on, also where that is saved
        pipe.register_to_config(**{WORLD_KEY: world})
    add_loras(pipe, lora, own=known.lora if known else ())
    with reading(model):  # parts whose weights were not all there have nothing to be moved
        moved: VideoPipeline = pipe.to(target)
    return moved


def _pipeline(model: str, motion_adapter: str | None, start: Start | None, dtype: torch.dtype) -> DiffusionPipeline:
    known = find_model(model)
    if known is not None and known.base is not None and known.checkpoint is not None:
        return _from_checkpoint(downloaded(known.base, known.checkpoint), motion_adapter, dtype)
    if known is not None and known.base is not None:
        return _from_diffusers(known.base, motion_adapter or known.motion_adapter, start, dtype)
    if known is not None:
        return _packaged(known.name, motion_adapter, start, dtype)
    path = existing_path(model)
    if path is not None and path.is_file():
        return _from_checkpoint(path, motion_adapter, dtype)
    if path is not None:
        return _from_diffusers(str(path), motion_adapter, start, dtype)
    if is_hub_id(model):
        return _from_diffusers(model, motion_adapter, start, dtype)
    raise ByTheWayError(_unknown(model), setting="model")


def _packaged(name: str, motion_adapter: str | None, start: Start | None, dtype: torch.dtype) -> DiffusionPipeline:
    missing = [file.parent for file in packaged_files(name) if not file.is_file()]
    if missing:
        raise ByTheWayError(
            f"The weights of {name} are missing from this installation ({missing[0]}); install the package again."
        )
    pipe = _from_diffusers(str(packaged_folder()), motion_adapter, start, dtype)
    if name == EARLY:
        early = load_motion_adapter(str(early_adapter_folder()), dtype)
        pipe.unet.load_motion_modules(early)
        pipe.register_modules(motion_adapter=early)
    return pipe


def _unknown(model: str) -> str:
    close = close_names(model)
    if close:
        return f"There is no model {model!r}; did you mean {' or '.join(close)}?"
    names = ", ".join(known.name for known in known_models())
    return f"There is no model {model!r}; give {names}, a folder, a checkpoint file or a hub id (owner/name)."


def _from_diffusers(
    location: str, motion_adapter: str | None, start: Start | None, dtype: torch.dtype
) -> DiffusionPipeline:
    """A folder or hub repository in diffusers' layout."""
    index = read_json(location, "model_index.json")
    if index is None:
        raise _no_index(location)
    if _is_video(index):
        if motion_adapter is not None:
            raise ByTheWayError(_WITH_MOTION.format(model=location, motion_adapter=motion_adapter))
        check_libraries(class_starting_from(str(index.get("_class_name")), start))
        return _from_class(location, index, dtype)
    check_supported(_denoiser(index))
    if _denoiser(index) != "UNet2DConditionModel":
        raise ByTheWayError(
            f"{location} is a {index.get('_class_name')}, which bytheway does not know; give a video pipeline, or a "
            "Stable Diffusion 1.5 or XL model with a motion adapter."
        )
    if motion_adapter is None:
        raise ByTheWayError(
            f"{location} holds an image model ({index.get('_class_name')}); {_GIVE_MOTION}", setting="motion_adapter"
        )
    return _animate(location, "text_encoder_2" in index, motion_adapter, dtype)


def _no_index(location: str) -> ByTheWayError:
    config = read_json(location, "config.json") or {}
    if config.get("_class_name") == "MotionAdapter":
        return ByTheWayError(
            f"{location} is a motion adapter; give it as the motion adapter of an image model.",
            setting="motion_adapter",
        )
    return ByTheWayError(f"{location} holds no diffusers pipeline: it has no model_index.json.", setting="model")


def _is_video(index: dict[str, Any]) -> bool:
    """Whether the pipeline of this model_index.json has motion: its denoiser's own, or a motion adapter's."""
    known = {denoiser for family in families() for denoiser in family.denoisers}
    return _denoiser(index) in known or _class(index.get("motion_adapter")) == "MotionAdapter"


def _denoiser(index: dict[str, Any]) -> str | None:
    return _class(index.get("unet") or index.get("transformer"))


def _class(component: Any) -> str | None:
    """The class name in a component of a model_index.json, which is a pair of library and class."""
    is_pair = isinstance(component, list) and len(component) == 2
    return component[1] if is_pair and isinstance(component[1], str) else None


def _from_class(location: str, index: dict[str, Any], dtype: torch.dtype) -> DiffusionPipeline:
    """The pipeline by the class, of diffusers or of our own, that its model_index.json names."""
    import diffusers

    from bytheway.models import videocrafter

    class_name = index.get("_class_name")
    home = videocrafter if class_name in videocrafter.__all__ else diffusers
    pipeline_class: Any = getattr(home, str(class_name), None)
    is_pipeline = inspect.isclass(pipeline_class) and issubclass(pipeline_class, diffusers.DiffusionPipeline)
    if not is_pipeline:
        raise ByTheWayError(f"{location} needs {class_name}, which is no pipeline of this version of diffusers.")
    pipe = read_pipeline(pipeline_class, location, dtype)
    if WORLD_KEY in index:  # of a repository of the hub, which is no folder
        pipe.register_to_config(**{WORLD_KEY: index[WORLD_KEY]})
    return pipe


def _animate(location: str, is_xl: bool, motion_adapter: str, dtype: torch.dtype) -> DiffusionPipeline:
    """An image model of the Stable Diffusion 1.5 or XL family with a motion adapter."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    config = read_json(location, "unet/config.json") or {}
    _check_channels(config.get("in_channels"), config.get("out_channels"), location)
    adapter = load_motion_adapter(motion_adapter, dtype)
    if is_xl:
        image = read_pipeline(StableDiffusionXLPipeline, location, dtype)
    else:
        image = read_pipeline(StableDiffusionPipeline, location, dtype, **_WITHOUT_SAFETY_CHECKER)
    return animate(image, location, adapter, motion_adapter)


def _check_channels(channels_in: int | None, channels_out: int | None, source: str | Path) -> None:
    """Raise ByTheWayError for an image model that needs more than a prompt.

    The UNets of inpainting and InstructPix2Pix see latents of an image beside the noisy ones.
    """
    if channels_in != channels_out:
        raise ByTheWayError(
            f"The UNet of {source} takes {channels_in} channels and makes {channels_out}, as those for inpainting and "
            "InstructPix2Pix do, which motion adapters do not fit; give a text-to-image model.",
            setting="model",
        )


def _from_checkpoint(path: Path, motion_adapter: str | None, dtype: torch.dtype) -> DiffusionPipeline:
    """A checkpoint in one file: of VideoCrafter2, or of Stable Diffusion 1.5 with a motion adapter.

    Such a file has neither tokenizer nor configuration: what the classes do not know comes from the hub or its cache.
    """
    from diffusers import StableDiffusionPipeline

    names = read_tensors(path, names_only=True)
    kind = kind_of(names)
    if kind == "videocrafter":
        return _videocrafter(path, motion_adapter, dtype)
    if kind != "image":
        raise other_kind(path, kind, "is no checkpoint of a Stable Diffusion 1.5 model with its text encoder")
    if not any(name.startswith("cond_stage_model.transformer.") for name in names):
        raise ByTheWayError(f"{path} is no checkpoint of a Stable Diffusion 1.5 model with its text encoder.")
    if motion_adapter is None:
        raise ByTheWayError(f"{path} holds an image model; {_GIVE_MOTION}", setting="motion_adapter")
    first, last = (names.get(f"model.diffusion_model.{layer}.weight") for layer in ("input_blocks.0.0", "out.2"))
    if first is not None and last is not None:
        _check_channels(first.shape[1], last.shape[0], path)
    adapter = load_motion_adapter(motion_adapter, dtype)
    with reading(f"{path} (whose tokenizer and configuration come from the hub)"):
        image = StableDiffusionPipeline.from_single_file(str(path), dtype=dtype, **_WITHOUT_SAFETY_CHECKER)
    check_components(image, str(path))
    return animate(image, str(path), adapter, motion_adapter)


def _videocrafter(path: Path, motion_adapter: str | None, dtype: torch.dtype) -> DiffusionPipeline:
    from bytheway.models.videocrafter.convert import load_checkpoint

    if motion_adapter is not None:
        raise ByTheWayError(_WITH_MOTION.format(model=path, motion_adapter=motion_adapter))
    return load_checkpoint(path, dtype)
