"""What the call of a pipeline accepts, told by its signature: pipelines agree on most names, and on few arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bytheway.families.known import families
from bytheway.families.pipeline import VideoPipeline

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


@dataclass(frozen=True)
class CallSignature:
    """The settings of a run that the call of a pipeline accepts.

    Attributes:
        names: the name of the call's argument for each setting that it accepts.
        defaults: what the call uses where a setting is not given, for each that has a default other than None.
        required: those of "images" and "video" that it cannot do without.
    """

    names: Mapping[str, str]
    defaults: Mapping[str, Any]
    required: frozenset[str]

    def accepts(self, setting: str) -> bool:
        """Whether the call has an argument for a setting, such as "negative_prompt"."""
        return setting in self.names

    def arguments(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings under the call's own names, without those that it does not accept or that are None."""
        return {
            self.names[setting]: value
            for setting, value in settings.items()
            if value is not None and setting in self.names
        }


def call_signature(pipe: VideoPipeline) -> CallSignature:
    """The signature of a pipeline's call, read as the declarations of the families say."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    pipeline = type(pipe).__name__
    other = {setting for family in families() for setting in family.other_meanings.get(pipeline, ())}
    optional = {start for family in families() for start in family.optional_starts.get(pipeline, ())}
    found = {setting: next((name for name in names if name in parameters), None) for setting, names in _NAMES.items()}
    names = {setting: name for setting, name in found.items() if name is not None and setting not in other}
    defaults = {setting: parameters[name].default for setting, name in names.items()}
    return CallSignature(
        names,
        {name: value for name, value in defaults.items() if value not in (None, inspect.Parameter.empty)},
        frozenset({"images", "video"} & names.keys() - optional),
    )
