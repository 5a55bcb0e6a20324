"""Text-to-video pipelines made into those that start from images or a video: other classes around the same parts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bytheway.errors import ByTheWayError
from bytheway.families.family import Start
from bytheway.families.known import families, known_models
from bytheway.models.checkpoints import kind_of, other_kind, read_tensors
from bytheway.models.components import check_config, check_whole, from_pretrained
from bytheway.models.registry import find_model
from bytheway.models.signature import call_signature
from bytheway.models.sources import existing_path, is_hub_id, read_json, reading

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

_DEFAULT_CONTROLNET: Final[Mapping[Start, str]] = {"image": "sparsectrl-rgb", "sketch": "sparsectrl-scribble"}
# Of Stable Diffusion 1.5, which the published ControlNets are made for.
_WIDTHS: Final = [320, 640, 1280, 1280]


def starting_from(
    pipe: DiffusionPipeline, start: Start | None, controlnet: str | None, dtype: torch.dtype
) -> DiffusionPipeline:
    """The pipeline that starts from what is wanted; where this one does already, it is kept.

    Args:
        pipe: a pipeline that starts from a prompt, or from more.
        start: what is there beside the prompt: images for some frames, sketches of them, or a video.
        controlnet: SparseCtrl's weights for images and sketches: a known name, folder or hub id; by default, those
            that SparseCtrl's authors published for the one or the other.
        dtype: the precision of the ControlNet.

    Raises:
        ByTheWayError: the model cannot start from it, or the ControlNet cannot be read or does not fit the model.
    """
    call = call_signature(pipe)
    if start == "video":
        if controlnet is not None:
            raise ByTheWayError(
                f"A run from a video takes no SparseCtrl; leave the ControlNet {controlnet} out.", setting="controlnet"
            )
        return pipe if call.accepts("video") else _rebuilt(pipe, _from_video(), start)
    if controlnet is None and (start is None or call.accepts("images")):
        made = pipe
    else:
        made = _with_controlnet(pipe, start or "image", controlnet, dtype)
    if start == "sketch":
        _check_sketches(made)
    return made


def class_starting_from(pipeline: str, start: Start | None) -> str:
    """The class that `starting_from` will make of a pipeline without a ControlNet, both by name."""
    return _from_video().get(pipeline, pipeline) if start == "video" else pipeline


def _from_video() -> dict[str, str]:
    return {one: other for family in families() for one, other in family.from_video.items()}


def _with_controlnet(pipe: Any, start: Start, controlnet: str | None, dtype: torch.dtype) -> DiffusionPipeline:
    classes = {one: other for family in families() for one, other in family.with_sparse_controlnet.items()}
    name = type(pipe).__name__
    if controlnet is None:
        widths = list(getattr(getattr(pipe, "unet", None), "config", {}).get("block_out_channels", []))
        if name not in classes or widths != _WIDTHS:
            raise _no_start(pipe, start)
        controlnet = _DEFAULT_CONTROLNET[start]
    elif name not in classes:
        raise ByTheWayError(
            f"This model ({name}) takes no SparseCtrl; leave the ControlNet {controlnet} out.", setting="controlnet"
        )
    return _rebuilt(pipe, classes, start, controlnet=_load_controlnet(pipe, controlnet, dtype))


def _check_sketches(pipe: Any) -> None:
    """Raise ByTheWayError for a model that would take lines for a picture.

    SparseCtrl's form for images sees latents of the VAE, which makes nothing of lines; that for sketches sees pixels.
    """
    controlnet = getattr(pipe, "controlnet", None)
    if controlnet is None or getattr(controlnet, "config", {}).get("use_simplified_condition_embedding", False):
        raise ByTheWayError(
            f"This model ({type(pipe).__name__}) takes images and no sketches; give images, or take SparseCtrl's "
            f"ControlNet for sketches, {_DEFAULT_CONTROLNET['sketch']}.",
            setting="controlnet",
        )


def _rebuilt(pipe: Any, classes: dict[str, str], start: Start, **parts: Any) -> DiffusionPipeline:
    """The parts of a pipeline in one of another class."""
    import diffusers

    pipeline_class = getattr(diffusers, classes.get(type(pipe).__name__, ""), None)
    if pipeline_class is None or not _fits(pipe, pipeline_class):
        raise _no_start(pipe, start)
    known = inspect.signature(pipeline_class).parameters
    made = pipeline_class(**{name: part for name, part in (pipe.components | parts).items() if name in known})
    made.register_to_config(_name_or_path=pipe.config.get("_name_or_path"))
    return made


def _fits(pipe: Any, pipeline_class: type) -> bool:
    """Whether the class has a place for all that the pipeline is made of.

    Wan 2.2's second transformer has none, nor have timesteps of each token by itself, as its smaller model takes them.
    """
    known = inspect.signature(pipeline_class).parameters
    parts = [name for name, part in pipe.components.items() if part is not None]
    settings = ["expand_timesteps"] if pipe.config.get("expand_timesteps") else []
    return all(name in known for name in (*parts, *settings))


def _no_start(pipe: Any, start: Start) -> ByTheWayError:
    what = "a video" if start == "video" else "an image"
    return ByTheWayError(
        f"This model ({type(pipe).__name__}) does not start from {what}; leave it out, or choose a model that does, "
        "such as animatediff.",
        setting="model",
    )


def _load_controlnet(pipe: Any, controlnet: str, dtype: torch.dtype) -> Any:
    """SparseCtrl's ControlNet of a known name, folder or hub id."""
    from diffusers import SparseControlNetModel

    known = find_model(controlnet)
    source = known.controlnet if known is not None and known.controlnet is not None else controlnet
    if existing_path(source) is None and not is_hub_id(source):
        names = ", ".join(model.name for model in known_models() if model.controlnet)
        raise ByTheWayError(f"There is no ControlNet {source!r}; give {names}, a folder or a hub id (owner/name).")
    path = existing_path(source)
    if path is not None and path.is_file():
        kind = kind_of(read_tensors(path, names_only=True))
        raise other_kind(source, kind, "is a file; give SparseCtrl as a folder or hub id in diffusers' format")
    config = read_json(source, "config.json")
    if config is None or config.get("_class_name") != SparseControlNetModel.__name__:
        raise ByTheWayError(
            f"{source} holds no SparseCtrl: its config.json does not say {SparseControlNetModel.__name__}."
        )
    _check_fit(pipe, source, config)
    check_config(config, f"config.json of {source}")
    with reading(source):
        made = from_pretrained(SparseControlNetModel, source, dtype=dtype)
    check_whole(made, "ControlNet", source)
    return made


def _check_fit(pipe: Any, source: str, config: dict[str, Any]) -> None:
    unet = getattr(pipe, "unet", None)
    for setting in ("block_out_channels", "cross_attention_dim"):
        theirs, ours = config.get(setting), getattr(unet, "config", {}).get(setting)
        theirs, ours = (list(value) if isinstance(value, (list, tuple)) else value for value in (theirs, ours))
        if theirs != ours:
            raise ByTheWayError(
                f"The ControlNet {source} does not fit this model: its {setting} is {theirs}, the model's is {ours}."
            )
