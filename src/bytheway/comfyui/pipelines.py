"""The nodes for the package's own pipelines: ByTheWay (load), ByTheWay (sample)."""

from __future__ import annotations

import json
from typing import Any, Final

from comfy_api.latest import io

from bytheway.comfyui.inputs import (
    BY_MODEL,
    OWN,
    Pipe,
    Recorded,
    adaptive_input,
    config_of,
    motion_inputs,
    preset_input,
    schema,
    self_guidance_input,
)
from bytheway.families.known import known_models
from bytheway.families.pipeline import VideoPipeline

_OFF: Final = "off"
_FOLDER: Final = "folder or hub id below"


class ByTheWayLoad(io.ComfyNode):  # type: ignore[misc]
    """ByTheWay (load): a diffusers pipeline of the package's."""

    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="ByTheWayLoad",
            display_name="ByTheWay (load)",
            description="Loads a text-to-video pipeline of bytheway itself. diorama comes with it and needs no "
            "download; the others are fetched from the Hugging Face hub on first use.",
            search_aliases=["diorama", "diffusers", "text to video"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[*(one.name for one in known_models() if one.start is None), _FOLDER],
                    default="diorama",
                    tooltip="diorama is a small model of toy scenes that comes with bytheway and runs on a CPU: "
                    "'a red ball rolling to the right on grass'. The others are downloaded.",
                ),
                io.String.Input(
                    "folder",
                    default="",
                    tooltip=f"With '{_FOLDER}': a diffusers folder, a hub id (owner/name) or a checkpoint file.",
                ),
            ],
            outputs=[Pipe.Output(id="pipe", display_name="PIPE", tooltip="For ByTheWay (sample).")],
        )

    @classmethod
    def execute(cls, model: str, folder: str) -> Any:
        from comfy.model_management import get_torch_device

        from bytheway.models.loading import load

        return io.NodeOutput(load(folder if model == _FOLDER else model, device=get_torch_device()))


class ByTheWaySample(io.ComfyNode):  # type: ignore[misc]
    """ByTheWay (sample): a clip of a loaded pipeline."""

    @classmethod
    def define_schema(cls) -> Any:
        said_by_model = "0: what suits the model."
        return schema(
            node_id="ByTheWaySample",
            display_name="ByTheWay (sample)",
            description="Makes a clip with a pipeline of ByTheWay (load). Give the frames to Create Video and Save "
            "Video. The same seed with 'off' shows what the method does.",
            search_aliases=["diorama", "generate", "text to video"],
            inputs=[
                Pipe.Input("pipe", tooltip="From ByTheWay (load)."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="a red ball rolling to the right on grass",
                    tooltip="What the clip shall show.",
                ),
                io.String.Input("negative_prompt", default="", tooltip="What it shall not show; may be empty."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**53,
                    control_after_generate=True,
                    tooltip="The same seed and settings make the same clip.",
                ),
                io.Int.Input("steps", default=0, min=0, max=1000, tooltip=f"Denoising steps. {said_by_model}"),
                io.Float.Input(
                    "guidance",
                    default=0.0,
                    min=0.0,
                    max=50.0,
                    step=0.5,
                    tooltip=f"How closely the prompt is followed; 1 is no guidance. {said_by_model}",
                ),
                io.Int.Input("frames", default=0, min=0, max=1024, tooltip=f"How many frames. {said_by_model}"),
                io.Int.Input("width", default=0, min=0, max=4096, step=8, tooltip=f"In pixels. {said_by_model}"),
                io.Int.Input("height", default=0, min=0, max=4096, step=8, tooltip=f"In pixels. {said_by_model}"),
                preset_input(
                    [BY_MODEL, OWN, _OFF],
                    f"'{BY_MODEL}' has the method's numbers for this model; with '{OWN}' the five inputs below count; "
                    f"'{_OFF}' makes the clip without the method.",
                ),
                self_guidance_input(),
                *motion_inputs(),
                adaptive_input(),
                io.Int.Input(
                    "enlarge",
                    default=0,
                    min=0,
                    max=16,
                    tooltip="How many times as long the sides of the frames are made. 0: until the shorter one has 256 "
                    "pixels.",
                ),
                io.Boolean.Input(
                    "record",
                    default=False,
                    tooltip="Measure energies, disparity and beta, for the node ByTheWay (record).",
                ),
            ],
            outputs=[
                io.Image.Output(id="frames", display_name="IMAGE", tooltip="The frames of the clip."),
                io.Float.Output(id="fps", display_name="fps", tooltip="Frames a second, for Create Video."),
                io.String.Output(id="settings", display_name="settings", tooltip="What makes the clip again, as JSON."),
                Recorded.Output(id="recorded", display_name="RECORD", tooltip="What was measured, if 'record' is on."),
            ],
        )

    @classmethod
    def execute(
        cls,
        pipe: VideoPipeline,
        prompt: str,
        negative_prompt: str,
        seed: int,
        steps: int,
        guidance: float,
        frames: int,
        width: int,
        height: int,
        preset: str,
        self_guidance: float,
        motion: float,
        band: int,
        active_share: float,
        adaptive: str,
        enlarge: int,
        record: bool,
    ) -> Any:
        from bytheway.comfyui.images import as_image, enlarged
        from bytheway.comfyui.previews import Progress
        from bytheway.comfyui.recorder import Recorder
        from bytheway.families.known import preset_for
        from bytheway.generation.request import Request
        from bytheway.generation.run import generate

        config = None
        if preset == BY_MODEL:
            config = preset_for(pipe).config
        elif preset == OWN:
            config = config_of(preset, self_guidance, motion, band, active_share, adaptive)
        request = Request(
            (prompt,),
            seed,
            config,
            negative_prompt or None,
            num_frames=frames or None,
            height=height or None,
            width=width or None,
            steps=steps or None,
            guidance_scale=guidance or None,
            record=record,
        )
        [clip] = generate(pipe, request, Progress(pipe))
        shown = as_image(enlarged(clip.frames, enlarge))
        return io.NodeOutput(shown, float(clip.fps), json.dumps(clip.settings, indent=2), Recorder(clip.record))
