"""What the call of a pipeline takes, told by its signature: pipelines agree on most names, and on few arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from bytheway.families.known import families

# What a setting of a run is called in the calls of pipelines, the usual name first.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("prompt",),
    "negative_prompt": ("negative_prompt",),
    "num_frames": ("num_frames", "video_length"),
    "width": ("width",),
    "height": ("height",),
    "steps": ("num_inference_steps",),
    "guidance_scale": ("guidance_scale", "max_guidance_scale"),
    "frame_rate": ("frame_rate",),
    "images": ("conditioning_frames", "image"),
    "image_frames": ("controlnet_frame_indices",),
    "video": ("video",),
    "strength": ("strength",),
    "generator": ("generator",),
    "output_type": ("output_type",),
    "on_step_end": ("callback_on_step_end",),
    # Of the oldest pipelines: called with (step, timestep, latents).
    "on_step": ("callback",),
}


def takes(pipe: Any, setting: str) -> str | None:
    """The name under which the pipeline's call takes a setting, None where it does not."""
    if any(setting in family.other_meanings.get(type(pipe).__name__, ()) for family in families()):
        return None
    parameters = _parameters(pipe)
    return next((name for name in _NAMES[setting] if name in parameters), None)


def needs(pipe: Any, start: str) -> bool:
    """Whether the pipeline's call needs what it starts from, "images" or "video"."""
    optional = any(start in family.optional_starts.get(type(pipe).__name__, ()) for family in families())
    return takes(pipe, start) is not None and not optional


def call_default(pipe: Any, setting: str) -> Any | None:
    """What the pipeline's call uses where the setting is not given; None where that is not in its signature."""
    name = takes(pipe, setting)
    default = None if name is None else _parameters(pipe)[name].default
    return None if default is inspect.Parameter.empty else default


def arguments(pipe: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under the pipeline's names, without those that it does not take or that are None."""
    named = {takes(pipe, setting): value for setting, value in settings.items() if value is not None}
    return {name: value for name, value in named.items() if name is not None}


def _parameters(pipe: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(type(pipe).__call__).parameters
