"""The nodes for the package's own pipelines: ByTheWay (load), ByTheWay (sample)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from comfy_api.latest import io

from bytheway.comfyui.inputs import (
    AUTO,
    BY_MODEL,
    OWN,
    Pipe,
    Recorded,
    adaptive_input,
    config_of,
    motion_inputs,
    numbers_of,
    preset_input,
    schema,
    self_guidance_input,
)
from bytheway.config import AUTO_SETTINGS, AutoConfig
from bytheway.errors import ByTheWayError
from bytheway.families.known import known_models
from bytheway.families.pipeline import VideoPipeline
from bytheway.selection.aim import AIMS, Aim

if TYPE_CHECKING:
    from bytheway.diagnosis.fit import Fit
    from bytheway.generation.clip import Clip
    from bytheway.generation.job import Job
    from bytheway.generation.request import Request

_OFF: Final = "off"
_FOLDER: Final = "folder or hub id below"


class Loaded(NamedTuple):
    """A PIPE as it goes from node to node.

    Attributes:
        name: as the user gave it.
        pipe: the pipeline.
    """

    name: str
    pipe: VideoPipeline


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
                    tooltip=f"With '{_FOLDER}': a diffusers folder, a hub id (owner/name) or a checkpoint file. Empty "
                    "with any other model.",
                ),
                # The last one, so that workflows saved before it was there keep their values.
                io.String.Input(
                    "motion_adapter",
                    default="",
                    optional=True,
                    tooltip="For image models, such as a checkpoint of Stable Diffusion 1.5: AnimateDiff's motion "
                    "modules, a folder, a hub id (guoyww/animatediff-motion-adapter-v1-5-3) or a file. Empty: none.",
                ),
            ],
            outputs=[Pipe.Output(id="pipe", display_name="PIPE", tooltip="For ByTheWay (sample).")],
        )

    @classmethod
    def execute(cls, model: str, folder: str, motion_adapter: str = "") -> Any:
        from comfy.model_management import get_torch_device, unload_all_models

        from bytheway.models.loading import load

        if model == _FOLDER and not folder:
            raise ByTheWayError(f"With '{_FOLDER}' the model is what 'folder' says, and it is empty; fill it in.")
        if model != _FOLDER and folder:
            raise ByTheWayError(f"'folder' has {folder}, and the model is {model}; choose '{_FOLDER}', or empty it.")
        device = get_torch_device()
        if device.type != "cpu":  # ComfyUI does not know of what is loaded here, and so makes no room for it
            unload_all_models()
        name = folder or model
        return io.NodeOutput(Loaded(name, load(name, motion_adapter=motion_adapter or None, device=device)))


class ByTheWaySample(io.ComfyNode):  # type: ignore[misc]
    """ByTheWay (sample): a clip of a loaded pipeline, or the best of several seeds."""

    @classmethod
    def define_schema(cls) -> Any:
        said_by_model = "0: what suits the model."
        return schema(
            node_id="ByTheWaySample",
            display_name="ByTheWay (sample)",
            description="Makes a clip with a pipeline of ByTheWay (load). Give the frames to Create Video and Save "
            "Video. The same seed with 'off' shows what the method does. With best_of several seeds are begun, and "
            "after the steps in which the method acts the most promising are finished.",
            search_aliases=["diorama", "generate", "text to video", "best of", "seeds"],
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
                    [BY_MODEL, AUTO, OWN, _OFF],
                    f"'{BY_MODEL}' has the method's numbers for this model; '{AUTO}' finds them by the model's own "
                    "maps, which takes the active steps of eight clips, once for a model; with "
                    f"'{OWN}' the five inputs below count, else they change nothing; '{_OFF}' makes the clip without "
                    "the method.",
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
                    tooltip="Measure energies, disparity and beta, for the nodes ByTheWay (record) and ByTheWay "
                    "(diagnose).",
                ),
                *_best_of_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    id="frames",
                    display_name="IMAGE",
                    is_output_list=True,
                    tooltip="The frames of the clip; of several clips what follows is done for each.",
                ),
                io.Float.Output(
                    id="fps", display_name="fps", is_output_list=True, tooltip="Frames a second, for Create Video."
                ),
                io.String.Output(
                    id="settings",
                    display_name="settings",
                    is_output_list=True,
                    tooltip="What makes the clip again, as JSON.",
                ),
                Recorded.Output(
                    id="recorded",
                    display_name="RECORD",
                    is_output_list=True,
                    tooltip="What was measured, if 'record' is on or best_of more than 1.",
                ),
                io.String.Output(
                    id="choice",
                    display_name="choice",
                    tooltip=f"What '{AUTO}' found; which seeds were begun, what was predicted of each, and which were "
                    "kept; the method's numbers.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        pipe: Loaded,
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
        best_of: int,
        keep: int,
        aim: Aim,
    ) -> Any:
        from bytheway.comfyui.images import as_image, enlarged
        from bytheway.comfyui.seen import RecordedClip
        from bytheway.families.known import preset_for
        from bytheway.generation.request import Request
        from bytheway.generation.run import job_of
        from bytheway.selection.conditions import fit_for

        config = None
        if preset in (BY_MODEL, AUTO):
            config = preset_for(pipe.pipe).config
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
            num_videos=best_of,
            record=record,
        )
        request, found = _found(pipe, request) if preset == AUTO else (request, "")
        job = job_of(pipe.pipe, request)
        fit = fit_for(pipe.name, pipe.pipe, job) if record or best_of > 1 else None
        clips, choice = _best(pipe, job, keep, aim, fit) if best_of > 1 else (_one(pipe, job), "")
        return io.NodeOutput(
            [as_image(enlarged(clip.frames, enlarge)) for clip in clips],
            [float(clip.fps) for clip in clips],
            [json.dumps(clip.settings, indent=2) for clip in clips],
            [
                None if clip.record is None else RecordedClip(clip.record, job, pipe.pipe.scheduler, fit)
                for clip in clips
            ],
            "\n\n".join(filter(None, (found, choice, _made_with(job)))),
        )


def _made_with(job: Job) -> str:
    """The numbers that count, which are not those of the inputs with every preset."""
    config = job.request.config
    if config is None:
        return "Made without the method."
    return f"Made with {numbers_of(config)}, adaptive {config.beta_rule}."


def _found(pipe: Loaded, request: Request) -> tuple[Request, str]:
    """The request with the settings that the model's own maps ask for in place of its preset's, and these in words."""
    from bytheway.comfyui.previews import Progress
    from bytheway.generation.run import job_of
    from bytheway.selection.best import steps_before_choice
    from bytheway.tuning.resolving import CLIPS, find_settings

    assert request.config is not None
    wanted = AutoConfig(request.config, AUTO_SETTINGS)
    progress = Progress(pipe.pipe, CLIPS * steps_before_choice(job_of(pipe.pipe, request)))
    found = find_settings(pipe.pipe, wanted, request, model=pipe.name, on_step=progress)
    return found.into(request), found.sentence


def _best_of_inputs() -> list[Any]:
    return [
        io.Int.Input(
            "best_of",
            default=1,
            min=1,
            max=64,
            tooltip="How many seeds are begun, from 'seed' on. 1: that one alone is made. With 8, a fifth of the steps "
            "active, it takes as long as 2.4 clips, and the memory of 8 clips' latents.",
        ),
        io.Int.Input(
            "keep",
            default=1,
            min=1,
            max=63,
            tooltip="With best_of more than 1: how many of them are finished, the most promising first, each "
            "the clip that its seed gives alone.",
        ),
        io.Combo.Input(
            "aim",
            options=list(reversed(AIMS)),
            default="both",
            tooltip="With best_of more than 1: by what the most promising are told. 'motion' moves more, "
            "'structure' holds together better, 'both' goes by the sum of the two ranks.",
        ),
    ]


def _one(pipe: Loaded, job: Job) -> list[Clip]:
    from bytheway.comfyui.previews import Progress
    from bytheway.generation.run import make_clips

    return list(make_clips(pipe.pipe, job, Progress(pipe.pipe, job.steps_run * job.iterations)))


def _best(pipe: Loaded, job: Job, keep: int, aim: Aim, fit: Fit | None) -> tuple[list[Clip], str]:
    """The clips that are kept, and how they were chosen, in words."""
    from bytheway.comfyui.plot import in_columns
    from bytheway.comfyui.previews import Progress
    from bytheway.selection.best import Choice, check_choice, make_best, steps_before_choice, steps_of_all
    from bytheway.selection.words import remarks_on, table_of

    check_choice(pipe.pipe, job, keep, aim)
    progress, before = Progress(pipe.pipe, steps_of_all(job, keep)), steps_before_choice(job)
    said: list[str] = []

    def say(choice: Choice) -> None:
        for candidate in choice.candidates:
            progress.made(candidate.clip, before)
        said.extend([*in_columns(table_of(choice, before)), "", *remarks_on(choice, fit, pipe.name)])

    clips = list(make_best(pipe.pipe, job, keep, aim, fit, progress, say))
    return clips, "\n".join(said)
