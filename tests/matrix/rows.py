"""The rows of the matrix: each pipeline of each family that bytheway supports, at toy size."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import diffusers

from bytheway.families.known import families
from bytheway.models.videocrafter import VideoCrafterPipeline
from tests.toys import animatediff, joint, temporal, videocrafter

Made = tuple[Any, dict[str, Any]]

# Latents are an eighth of the frames' size, as they are in the published models.
_VAE_LEVELS = 4


def _guidance_scale(scale: float) -> dict[str, float]:
    return {"guidance_scale": scale}


@dataclass(frozen=True)
class Row:
    """One pipeline.

    Attributes:
        name: in the names of tests.
        pipeline: class name.
        make: a fresh pipeline for clips of so many latent frames, and the arguments of its call.
        guidance: the arguments that set the scale of classifier-free guidance.
        stride: frames for each latent frame but the first.
        fewest_steps: that its schedule allows.
        fixed_frames: whether the model is made for one number of frames.
        tokens_before: where attention is over space and time at once, the tokens before those of the video, by height
            and width in tokens; None where frames have attention of their own.
        odd_size: height and width in pixels, of feature maps with odd sides as far as the model allows.
        loading: what `from_pretrained` has to be told again.
        heading: in the table, where the declaration of the family names another model that this pipeline runs.
    """

    name: str
    pipeline: str
    make: Callable[[int], Made]
    guidance: Callable[[float], dict[str, Any]] = _guidance_scale
    stride: int = 1
    fewest_steps: int = 1
    fixed_frames: bool = False
    tokens_before: Callable[[int, int], int] | None = None
    odd_size: tuple[int, int] = (40, 56)
    loading: tuple[tuple[str, Any], ...] = ()
    heading: str | None = None

    @property
    def title(self) -> str:
        """In the table: what the family's declaration calls the models that this pipeline runs."""
        names = {pipeline: name for family in families() for pipeline, name in family.pipelines.items()}
        return self.heading or names[self.pipeline]

    @property
    def pipeline_class(self) -> type:
        if self.pipeline == VideoCrafterPipeline.__name__:
            return VideoCrafterPipeline
        found: type = getattr(diffusers, self.pipeline)
        return found

    @property
    def joint(self) -> bool:
        return self.tokens_before is not None


def _of_family(name: str) -> Callable[[int], Made]:
    """Two levels: the anchor and one that it guides."""
    return lambda frames: animatediff.FACTORIES[name](channels=(32, 32), vae_levels=_VAE_LEVELS)


def _of_temporal(name: str, channels: tuple[int, ...] = (16, 32, 32)) -> Callable[[int], Made]:
    """Three levels, of which the coarsest has no attention; the anchor has twice the heads of the one it guides."""
    return lambda frames: temporal.FACTORIES[name](frames=frames, channels=channels, vae_levels=_VAE_LEVELS)


def _videocrafter2(frames: int) -> Made:
    pipe = videocrafter.make_pipeline(
        _VAE_LEVELS,
        block_out_channels=(8, 16, 16),
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
    )
    return pipe, {"prompt": [""], "num_frames": frames, "height": 0, "width": 0, "output_type": "latent"}


def _latte(frames: int) -> Made:
    return temporal.FACTORIES["latte"](frames=frames, vae_levels=_VAE_LEVELS)


def _of_joint(name: str) -> Callable[[int], Made]:
    return lambda frames: joint.FACTORIES[name]()


def _with_negative_prompt(name: str) -> Callable[[int], Made]:
    """HunyuanVideo and its kin have it beside their distilled guidance."""

    def make(frames: int) -> Made:
        pipe, call = joint.FACTORIES[name]()
        negative = {
            "negative_prompt_embeds": call["prompt_embeds"].flip(-1),
            "negative_pooled_prompt_embeds": call["pooled_prompt_embeds"].flip(-1),
            "negative_prompt_attention_mask": call["prompt_attention_mask"],
        }
        return pipe, call | negative

    return make


def _history(height: int, width: int) -> int:
    """FramePack's: two frames, one token of two frames at half the resolution, four of four at a quarter."""
    return 2 * height * width + ceil(height / 2) * ceil(width / 2) + 4 * ceil(height / 4) * ceil(width / 4)


def _joint(name: str, pipeline: str, **settings: Any) -> Row:
    """Tokens are 16x16 pixels."""
    defaults: dict[str, Any] = {
        "make": _of_joint(name),
        "stride": 4,
        "tokens_before": lambda height, width: 0,
        "odd_size": (48, 80),
    }
    return Row(name, pipeline, **(defaults | settings))


EVERY: Final = (
    Row("animatediff", "AnimateDiffPipeline", _of_family("animatediff")),
    Row("animatediff_sdxl", "AnimateDiffSDXLPipeline", _of_family("sdxl")),
    Row("controlnet", "AnimateDiffControlNetPipeline", _of_family("controlnet")),
    Row("sparsectrl", "AnimateDiffSparseControlNetPipeline", _of_family("sparse_controlnet")),
    Row("video_to_video", "AnimateDiffVideoToVideoPipeline", _of_family("video_to_video")),
    Row(
        "video_to_video_controlnet",
        "AnimateDiffVideoToVideoControlNetPipeline",
        _of_family("video_to_video_controlnet"),
    ),
    Row(
        "pag",
        "AnimateDiffPAGPipeline",
        _of_family("pag"),
        loading=(("pag_applied_layers", "mid_block.attentions"),),
    ),
    Row("pia", "PIAPipeline", _of_family("pia")),
    Row("videocrafter2", "VideoCrafterPipeline", _videocrafter2),
    Row("modelscope", "TextToVideoSDPipeline", _of_temporal("text_to_video")),
    Row(
        "modelscope_video_to_video",
        "VideoToVideoSDPipeline",
        _of_temporal("video_to_video"),
    ),
    Row("i2vgenxl", "I2VGenXLPipeline", _of_temporal("i2vgenxl")),
    Row(
        "svd",
        "StableVideoDiffusionPipeline",
        _of_temporal("stable_video_diffusion", channels=(32, 64, 64)),
        guidance=lambda scale: {"min_guidance_scale": 1.0, "max_guidance_scale": scale},
        # Its decoder does not fit its maps to those of the encoder: sides have to halve evenly.
        odd_size=(96, 160),
    ),
    Row("latte", "LattePipeline", _latte, fixed_frames=True, odd_size=(48, 80)),
    _joint("cogvideox", "CogVideoXPipeline", tokens_before=lambda height, width: 5),
    _joint("wan", "WanPipeline"),
    _joint("wan_2_2", "WanPipeline", heading="Wan 2.2"),
    _joint("wan_vace", "WanVACEPipeline"),
    _joint("wan_animate", "WanAnimatePipeline", tokens_before=lambda height, width: height * width),
    _joint(
        "hunyuanvideo",
        "HunyuanVideoPipeline",
        make=_with_negative_prompt("hunyuanvideo"),
        guidance=lambda scale: {"true_cfg_scale": scale},
    ),
    _joint(
        "framepack",
        "HunyuanVideoFramepackPipeline",
        make=_with_negative_prompt("framepack"),
        guidance=lambda scale: {"true_cfg_scale": scale},
        tokens_before=_history,
    ),
    # Its sizes are multiples of 32 pixels, two tokens of this one.
    _joint("ltx", "LTXPipeline", odd_size=(32, 96)),
    _joint("mochi", "MochiPipeline", stride=6, fewest_steps=2),
)
# Those that this diffusers has.
ROWS: Final = tuple(row for row in EVERY if row.name == "videocrafter2" or hasattr(diffusers, row.pipeline))
