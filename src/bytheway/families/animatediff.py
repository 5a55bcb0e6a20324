"""AnimateDiff (Guo et al., arXiv 2307.04725) and what is built on its motion modules; the packaged models, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bytheway.config import ByTheWayConfig
from bytheway.families.family import (
    UNET_BLOCK,
    Family,
    KnownModel,
    MadeFor,
    Preset,
    SamplerDefaults,
    Start,
    TemporalAttentions,
)

# The pipeline with motion of an image model's.
ANIMATED: Final[Mapping[str, str]] = {
    "StableDiffusionPipeline": "AnimateDiffPipeline",
    "StableDiffusionXLPipeline": "AnimateDiffSDXLPipeline",
}
PACKAGED: Final = "diorama"
EARLY: Final = "diorama-early"

_REALISTIC_VISION: Final = "SG161222/Realistic_Vision_V5.1_noVAE"
_EPIC_REALISM: Final = "emilianJR/epiCRealism"
_V3: Final = "guoyww/animatediff-motion-adapter-v1-5-3"
_V3_LORA: Final = "guoyww/animatediff-motion-lora-v1-5-3"


def _lightning(steps: int) -> KnownModel:
    """AnimateDiff-Lightning (Lin and Yang, arXiv 2403.12706): one file for each number of steps."""
    return KnownModel(
        name="animatediff-lightning" if steps == 4 else f"animatediff-lightning-{steps}step",
        description=f"AnimateDiff-Lightning on epiCRealism: distilled to {steps} steps without guidance",
        base=_EPIC_REALISM,
        motion_adapter=f"ByteDance/AnimateDiff-Lightning:animatediff_lightning_{steps}step_diffusers.safetensors",
        sampler=SamplerDefaults(
            scheduler="EulerDiscreteScheduler",
            scheduler_config={"beta_schedule": "linear", "timestep_spacing": "trailing"},
            steps=steps,
            guidance_scale=1.0,
        ),
        adapter_files=tuple(
            f"animatediff_lightning_{steps}step_{form}.safetensors" for form in ("diffusers", "comfyui")
        ),
    )


def _sparsectrl(form: str, controlnet: str, start: Start, description: str) -> KnownModel:
    """SparseCtrl (Guo et al., arXiv 2311.16933); steps and guidance of its authors' configs/prompts/3_sparsectrl."""
    return KnownModel(
        name=f"sparsectrl-{form}",
        description=description,
        start=start,
        base=_REALISTIC_VISION,
        motion_adapter=_V3,
        controlnet=controlnet,
        lora=(_V3_LORA,),
        sampler=SamplerDefaults(guidance_scale=8.5),
    )


_MODELS: Final = (
    KnownModel(
        name=PACKAGED,
        preset=PACKAGED,
        description="a small toy-world model that ships with the package; runs on a CPU, downloads nothing",
        measured=True,
    ),
    KnownModel(
        name=EARLY,
        preset=PACKAGED,
        description="diorama with motion modules that have only begun to learn: what the method was made to help",
    ),
    KnownModel(
        name="animatediff",
        description="AnimateDiff v3 motion modules on Realistic Vision 5.1 (Stable Diffusion 1.5)",
        measured=True,
        base=_REALISTIC_VISION,
        motion_adapter=_V3,
    ),
    KnownModel(
        name="animatediff-v2",
        description="AnimateDiff v2 motion modules on Realistic Vision 5.1; the ones that motion LoRAs are made for",
        measured=True,
        base=_REALISTIC_VISION,
        motion_adapter="guoyww/animatediff-motion-adapter-v1-5-2",
    ),
    KnownModel(
        name="animatelcm",
        description="AnimateLCM (Wang et al., arXiv 2402.00769) on epiCRealism: a few steps, hardly any guidance",
        base=_EPIC_REALISM,
        motion_adapter="wangfuyun/AnimateLCM",
        lora=("wangfuyun/AnimateLCM:AnimateLCM_sd15_t2v_lora.safetensors=0.8",),
        sampler=SamplerDefaults(
            scheduler="LCMScheduler",
            scheduler_config={"beta_schedule": "linear", "clip_sample": False},
            steps=6,
            guidance_scale=2.0,
        ),
        adapter_files=("AnimateLCM_sd15_t2v.ckpt", "AnimateLCM_sd15_t2v.safetensors"),
    ),
    _lightning(4),
    _lightning(2),
    _lightning(8),
    KnownModel(
        name="animatediff-sdxl",
        description="AnimateDiff's beta motion modules on Stable Diffusion XL, 1024x1024",
        base="stabilityai/stable-diffusion-xl-base-1.0",
        motion_adapter="guoyww/animatediff-motion-adapter-sdxl-beta",
        sampler=SamplerDefaults(steps=20, guidance_scale=8.0),
        adapter_files=("mm_sdxl_v10_beta.ckpt", "mm_sdxl_v10_beta.safetensors"),
    ),
    _sparsectrl(
        "rgb",
        "guoyww/animatediff-sparsectrl-rgb",
        "image",
        "AnimateDiff v3 with SparseCtrl: images for any of the frames",
    ),
    _sparsectrl(
        "scribble",
        "guoyww/animatediff-sparsectrl-scribble",
        "sketch",
        "AnimateDiff v3 with SparseCtrl: sketches for any of the frames",
    ),
    KnownModel(
        name="pia",
        description="PIA (Zhang et al., arXiv 2312.13964) on Realistic Vision 6.0: animates an image",
        start="image",
        base="SG161222/Realistic_Vision_V6.0_B1_noVAE",
        motion_adapter="openmmlab/PIA-condition-adapter",
    ),
)

FAMILY: Final = Family(
    name="AnimateDiff",
    denoisers=("UNetMotionModel",),
    attentions=TemporalAttentions(
        # FreeNoise's split inference wraps the transformer block, hence the optional ".module".
        re.compile(
            rf"(?P<transformer>(?P<block>{UNET_BLOCK})\.motion_modules\.\d+)"
            r"\.transformer_blocks\.\d+(?:\.module)?\.attn[12]"
        )
    ),
    presets=(
        Preset(
            "animatediff",
            ByTheWayConfig(alpha=0.6, beta=1.5, tau=7),
            source="the paper, for clips of 16 frames at 512x512",
            figure="the paper's Tables 1 and 2; not repeated by us",
        ),
        Preset(
            "diorama",
            ByTheWayConfig(alpha=0.2, beta=1.5, tau=7),
            source="docs/evidence, by the rule told there",
            figure="optical flow +0.04 px a frame, jerk +0.08 px, structure as before (docs/evidence/results.md)",
        ),
    ),
    pipelines={
        "AnimateDiffPipeline": "AnimateDiff",
        "AnimateDiffSDXLPipeline": "AnimateDiff SDXL",
        "AnimateDiffControlNetPipeline": "AnimateDiff ControlNet",
        "AnimateDiffSparseControlNetPipeline": "SparseCtrl",
        "AnimateDiffVideoToVideoPipeline": "AnimateDiff video-to-video",
        "AnimateDiffVideoToVideoControlNetPipeline": "AnimateDiff video-to-video ControlNet",
        "AnimateDiffPAGPipeline": "AnimateDiff PAG",
        "PIAPipeline": "PIA",
    },
    made_for=(MadeFor(),),
    models=_MODELS,
    from_video={"AnimateDiffPipeline": "AnimateDiffVideoToVideoPipeline"},
    with_sparse_controlnet={"AnimateDiffPipeline": "AnimateDiffSparseControlNetPipeline"},
)
