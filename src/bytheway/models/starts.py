"""Text-to-video pipelines made into those that start from images or a video: other classes around the same parts."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Literal

from bytheway.errors import ByTheWayError
from bytheway.families.known import families, known_models
from bytheway.models.registry import find_model
from bytheway.models.signature import takes
from bytheway.models.sources import existing_path, is_hub_id, read_json, reading

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

Condition = Literal["image", "sketch", "video"]

_DEFAULT_CONTROLNET: Final = {"image": "sparsectrl-rgb", "sketch": "sparsectrl-scribble"}
# Of Stable Diffusion 1.5, which the published ControlNets are made for.
_WIDTHS: Final = [320, 640, 1280, 1280]


def conditioned(
    pipe: DiffusionPipeline, condition: Condition | None, controlnet: str | None, dtype: torch.dtype
) -> DiffusionPipeline:
    """The pipeline that starts from what is wanted; where this one does already, it is kept.

    Args:
        condition: what is there beside the prompt: images for some frames, sketches of them, or a video.
        controlnet: SparseCtrl's weights for images and sketches: a known name, folder or hub id; by default, those
            that SparseCtrl's authors published for the one or the other.

    Raises:
        ByTheWayError: the model cannot start from it, or the ControlNet cannot be read or does not fit the model.
    """
    if condition == "video":
        if controlnet is not None:
            raise ByTheWayError(f"A run from a video takes no SparseCtrl; leave the ControlNet {controlnet} out.")
        return pipe if takes(pipe, "video") else _rebuilt(pipe, _from_video(), "a video")
    if controlnet is None and (condition is None or takes(pipe, "images")):
        if condition == "sketch":
            _check_takes_sketches(pipe)
        return pipe
    if controlnet is None:
        widths = list(getattr(getattr(pipe, "unet", None), "config", {}).get("block_out_channels", []))
        if type(pipe).__name__ not in _with_sparse_controlnet() or widths != _WIDTHS:
            raise ByTheWayError(_no_start(pipe, "an image"))
        controlnet = _DEFAULT_CONTROLNET[condition or "image"]
    elif type(pipe).__name__ not in _with_sparse_controlnet():
        raise ByTheWayError(
            f"This model ({type(pipe).__name__}) takes no SparseCtrl; leave the ControlNet {controlnet} out."
        )
    loaded = _load_controlnet(pipe, controlnet, dtype)
    made = _rebuilt(pipe, _with_sparse_controlnet(), "an image", controlnet=loaded)
    if condition == "sketch":
        _check_takes_sketches(made)
    return made


def _from_video() -> dict[str, str]:
    return {one: other for family in families() for one, other in family.from_video.items()}


def _with_sparse_controlnet() -> dict[str, str]:
    return {one: other for family in families() for one, other in family.with_sparse_controlnet.items()}


def _check_takes_sketches(pipe: Any) -> None:
    """Raise ByTheWayError for a model that would take lines for a picture.

    SparseCtrl's form for images sees latents of the VAE, which makes nothing of lines; that for sketches sees pixels.
    """
    controlnet = getattr(pipe, "controlnet", None)
    if controlnet is None or getattr(controlnet, "config", {}).get("use_simplified_condition_embedding", False):
        raise ByTheWayError(
            f"This model ({type(pipe).__name__}) takes images and no sketches; give images (--image), or take "
            f"SparseCtrl's ControlNet for sketches ({_DEFAULT_CONTROLNET['sketch']})."
        )


def _rebuilt(pipe: Any, classes: dict[str, str], start: str, **parts: Any) -> DiffusionPipeline:
    """The parts of a pipeline in one of another class."""
    import diffusers

    pipeline_class = getattr(diffusers, classes.get(type(pipe).__name__, ""), None)
    if pipeline_class is None or not _fits(pipe, pipeline_class):
        raise ByTheWayError(_no_start(pipe, start))
    taken = inspect.signature(pipeline_class).parameters
    made = pipeline_class(**{name: part for name, part in (pipe.components | parts).items() if name in taken})
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


def _no_start(pipe: Any, start: str) -> str:
    return (
        f"This model ({type(pipe).__name__}) does not start from {start}; leave it out, or choose a model that does, "
        "such as animatediff."
    )


def _load_controlnet(pipe: Any, controlnet: str, dtype: torch.dtype) -> Any:
    """SparseCtrl's ControlNet of a known name, folder or hub id."""
    from diffusers import SparseControlNetModel

    known = find_model(controlnet)
    source = known.controlnet if known is not None and known.controlnet is not None else controlnet
    if existing_path(source) is None and not is_hub_id(source):
        names = ", ".join(model.name for model in known_models() if model.controlnet)
        raise ByTheWayError(f"There is no ControlNet {source!r}; give {names}, a folder or a hub id (owner/name).")
    config = read_json(source, "config.json")
    if config is None or config.get("_class_name") != SparseControlNetModel.__name__:
        raise ByTheWayError(
            f"{source} holds no SparseCtrl: its config.json does not say {SparseControlNetModel.__name__}."
        )
    _check_fit(pipe, source, config)
    with reading(source):
        return SparseControlNetModel.from_pretrained(source, dtype=dtype)


def _check_fit(pipe: Any, source: str, config: dict[str, Any]) -> None:
    unet = getattr(pipe, "unet", None)
    for setting in ("block_out_channels", "cross_attention_dim"):
        theirs, ours = config.get(setting), getattr(unet, "config", {}).get(setting)
        theirs, ours = (list(value) if isinstance(value, (list, tuple)) else value for value in (theirs, ours))
        if theirs != ours:
            raise ByTheWayError(
                f"The ControlNet {source} does not fit this model: its {setting} is {theirs}, the model's is {ours}."
            )
