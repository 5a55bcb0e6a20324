"""The nodes that put the method on models of ComfyUI: ByTheWay (AnimateDiff), ByTheWay (video models)."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from bytheway.comfyui.inputs import (
    BY_MODEL,
    OWN,
    Recorded,
    adaptive_input,
    config_of,
    motion_inputs,
    numbers_of,
    preset_input,
    schema,
    self_guidance_input,
    which_joint_preset,
)
from bytheway.families.known import presets


class ByTheWayAnimateDiff(io.ComfyNode):  # type: ignore[misc]  # ComfyUI has no types here
    """ByTheWay (AnimateDiff): the whole method on AnimateDiff-Evolved."""

    @classmethod
    def define_schema(cls) -> Any:
        paper = presets()["animatediff"]
        return schema(
            node_id="ByTheWayAnimateDiff",
            display_name="ByTheWay (AnimateDiff)",
            description="Better structure and more motion for AnimateDiff-Evolved, without training. Put it between "
            "AnimateDiff-Evolved's loaders (Apply AnimateDiff Model, Use Evolved Sampling) and the sampler. Several "
            "motion models, context windows, view options, FreeInit, keyframed scales and effects are supported. "
            "Not supported, and said when it is met: an effect of 0 for the anchor block alone while later blocks "
            "have one (give self_guidance 0). With per-block settings put it before Use Evolved Sampling, since "
            "AnimateDiff-Evolved forgets them in later clones of the model. A second sampler that continues a first "
            "one counts its own steps: give it the model without ByTheWay.",
            search_aliases=["animatediff", "more motion", "motion enhancement", "self-guidance", "FreeInit"],
            inputs=[
                io.Model.Input("model", tooltip="A model with AnimateDiff-Evolved's motion modules."),
                preset_input(
                    ["animatediff", OWN],
                    f"With '{OWN}' the five inputs below count, else they change nothing. Which numbers for which "
                    f"model: 'animatediff' has {numbers_of(paper.config)}, for motion modules v1 to v3 "
                    f"({paper.figure}); for AnimateLCM, AnimateDiff-Lightning, SDXL and HotshotXL they are unmeasured.",
                ),
                self_guidance_input(),
                *motion_inputs(),
                adaptive_input(),
                io.Boolean.Input(
                    "record",
                    default=False,
                    tooltip="Measure energies, disparity and beta while it samples, for the node ByTheWay (record). "
                    "Costs some time in the active steps.",
                ),
            ],
            outputs=[
                io.Model.Output(id="model", display_name="MODEL", tooltip="The same model, enhanced while it samples."),
                Recorded.Output(id="recorded", display_name="RECORD", tooltip="What was measured, if 'record' is on."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        preset: str,
        self_guidance: float,
        motion: float,
        band: int,
        active_share: float,
        adaptive: str,
        record: bool,
    ) -> Any:
        from bytheway.comfyui.animatediff import MotionEnhancement
        from bytheway.comfyui.recorder import Recorder
        from bytheway.comfyui.wrapper import install

        config = config_of(preset, self_guidance, motion, band, active_share, adaptive)
        recorder = Recorder() if record else None
        return io.NodeOutput(install(model, MotionEnhancement(config, recorder)), recorder)


class ByTheWayVideo(io.ComfyNode):  # type: ignore[misc]
    """ByTheWay (video models): motion enhancement on ComfyUI's own video models."""

    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="ByTheWayVideo",
            display_name="ByTheWay (video models)",
            description="More motion for ComfyUI's own Wan (with Fun Camera and Animate), HunyuanVideo, LTXV, Mochi "
            "and CogVideoX, without training. These attend over space and time at once, so that motion enhancement is "
            "all of the method for them. Other patches (Enhance-A-Video, TeaCache and the like) may come before or "
            "after. Not supported, and said when it is met: Wan VACE, S2V, HuMo, SCAIL and causal Wan, LTX-2 with "
            "sound, and models of other makes.",
            search_aliases=["wan", "hunyuan", "ltxv", "mochi", "cogvideox", "more motion"],
            inputs=[
                io.Model.Input("model", tooltip="A video model that ComfyUI loads by itself."),
                preset_input(
                    [BY_MODEL, OWN],
                    f"'{BY_MODEL}' has the numbers of the model's family; with '{OWN}' the three inputs below count, "
                    "else they change nothing. "
                    f"Which numbers for which model: {which_joint_preset()}",
                ),
                *motion_inputs(
                    16,
                    "Half of the number of latent frames is everything but what stands still: 10 for 81 frames of Wan, "
                    "which are 21 latent frames; 16 for all clips of usual length.",
                ),
            ],
            outputs=[io.Model.Output(id="model", display_name="MODEL", tooltip="The same model, with more motion.")],
        )

    @classmethod
    def execute(cls, model: Any, preset: str, motion: float, band: int, active_share: float) -> Any:
        from bytheway.comfyui.video import ValueEnhancement
        from bytheway.comfyui.wrapper import install

        config = None if preset == BY_MODEL else config_of(preset, 0.0, motion, band, active_share, "sqrt")
        return io.NodeOutput(install(model, ValueEnhancement(config)))
