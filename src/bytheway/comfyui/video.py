"""The method on ComfyUI's own video models: frames of the values filtered, by ComfyUI's override of attention.

These attend over space and time at once, so that motion enhancement is all of the method (`bytheway.attention.joint`).
An override that somebody else has set stays: it is called with the filtered values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil
from typing import Any, Final, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from bytheway.attention.joint import filter_frames_
from bytheway.attention.layout import VideoTokens
from bytheway.comfyui.wrapper import CONTEXT, OPTIONS, Enhancement, denoiser_of
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.known import presets
from bytheway.method import frequency_filter

OVERRIDE: Final = "optimized_attention_override"


class Video(NamedTuple):
    """Where the video is among the tokens that a self-attention is given.

    Attributes:
        start: number of tokens before it; None: it is last, behind a text whose length the tokens tell.
        frames: latent frames, after temporal patches.
        per_frame: tokens of a frame.
        least: the fewest tokens that a self-attention with the video can have.
        texts: how many tokens an attention to a text or an image has, and no self-attention with the video.
    """

    start: int | None
    frames: int
    per_frame: int
    least: int
    texts: frozenset[int]

    def within(self, tokens: int) -> VideoTokens:
        """The place of the video in a sequence."""
        count = self.frames * self.per_frame
        return VideoTokens(tokens - count if self.start is None else self.start, self.frames, self.per_frame)


class Call(NamedTuple):
    """A forward of a denoiser: what tells where the video is.

    Attributes:
        model: the denoiser.
        latents: shape of its latents, (batch, channels, F, height, width).
        text: number of tokens of the text; None: there is none.
        inputs: what else it is given, by name.
    """

    model: Any
    latents: tuple[int, ...]
    text: int | None
    inputs: Mapping[str, Any]

    def grid(self, patch: tuple[int, int, int]) -> tuple[int, int]:
        """Frames, and tokens of each; latents are padded up to whole patches."""
        frames, height, width = (ceil(size / side) for size, side in zip(self.latents[2:], patch, strict=True))
        return frames, height * width


def _wan(call: Call, images: int = 0) -> Video:
    """Text and image are in cross-attentions. A reference latent comes before the video, context latents behind it.

    Args:
        images: how many of the first frames are images that the video is made from.
    """
    frames, per_frame = call.grid(tuple(call.model.patch_size))
    has_reference = call.model.ref_conv is not None and call.inputs.get("reference_latent") is not None
    before = (has_reference + images) * per_frame
    image = call.inputs.get("clip_fea")
    texts = [count for count in (call.text, None if image is None else image.shape[-2]) if count is not None]
    return Video(before, frames - images, per_frame, before + (frames - images) * per_frame, frozenset(texts))


def _hunyuan(call: Call) -> Video:
    """Text first, or last in older ComfyUI; an attention to the text alone refines it before."""
    if len(call.model.patch_size) != 3:
        raise ByTheWayError("This model makes images, which have no frames; take ByTheWay off it.")
    frames, per_frame = call.grid(tuple(call.model.patch_size))
    text = call.text or 0
    before: int | None = None
    if getattr(call.model.double_blocks[0], "flipped_img_txt", False):
        before = 0 if call.inputs.get("ref_latent") is None else per_frame
    return Video(before, frames, per_frame, frames * per_frame + text, frozenset({text}))


def _cogvideox(call: Call) -> Video:
    """Text first."""
    side = call.model.patch_size
    frames, per_frame = call.grid((call.model.patch_size_t or 1, side, side))
    return Video(None, frames, per_frame, frames * per_frame, frozenset())


def _ltxv(call: Call) -> Video:
    """Keyframes come behind the video, as further frames of its latents. Text is in cross-attentions."""
    frames, per_frame = call.grid((1, 1, 1))
    keyframes = call.inputs.get("keyframe_idxs")
    if keyframes is not None:
        frames -= keyframes.shape[2] // per_frame
    texts = frozenset() if call.text is None else frozenset({call.text})
    return Video(0, frames, per_frame, frames * per_frame, texts)


def _mochi(call: Call) -> Video:
    """Text last."""
    side = call.model.patch_size
    frames, per_frame = call.grid((1, side, side))
    return Video(0, frames, per_frame, frames * per_frame, frozenset())


class VideoModel(NamedTuple):
    """A denoiser of ComfyUI's.

    Attributes:
        preset: name of the preset of its family.
        video: where the video is in a call of it.
    """

    preset: str
    video: Callable[[Call], Video]


# By the names of their classes.
MODELS: Final[Mapping[str, VideoModel]] = {
    "WanModel": VideoModel("wan", _wan),
    "CameraWanModel": VideoModel("wan", _wan),
    "AnimateWanModel": VideoModel("wan", partial(_wan, images=1)),  # the image of the character
    "HunyuanVideo": VideoModel("hunyuanvideo", _hunyuan),
    "CogVideoXTransformer3DModel": VideoModel("cogvideox", _cogvideox),
    "LTXVModel": VideoModel("ltx", _ltxv),
    "AsymmDiTJoint": VideoModel("mochi", _mochi),
}


def known(model: Any) -> VideoModel:
    """What is known of a denoiser of ComfyUI's.

    Raises:
        ByTheWayError: nothing is.
    """
    name = type(model).__name__
    if name not in MODELS:
        raise ByTheWayError(
            f"ByTheWay (video models) does not know where {name} has its video; it knows {', '.join(MODELS)}. Take it "
            "off this model, or use ByTheWay (AnimateDiff) for Stable Diffusion with motion modules."
        )
    return MODELS[name]


class ValueEnhancement(Enhancement):
    """Motion enhancement for ComfyUI's own video models.

    Args:
        config: None: that of the model's preset.
    """

    def __init__(self, config: ByTheWayConfig | None) -> None:
        super().__init__()
        self.config = config
        self._filtered: Any = lambda: None  # noise levels of the latest sampling in which values were filtered

    def config_for(self, model: Any) -> ByTheWayConfig:
        found = known(model)
        return presets()[found.preset].config if self.config is None else self.config

    def run(self, executor: Any, config: ByTheWayConfig, step: int, /, *args: Any, **kwargs: Any) -> Any:
        if config.beta == 1:
            return executor(*args, **kwargs)
        model, latents, text, options = denoiser_of(executor), args[0], args[CONTEXT], args[OPTIONS]
        call = Call(model, tuple(latents.shape), None if text is None else text.shape[1], kwargs)
        values = Values(known(model).video(call), config, latents)
        # A copy for this forward: what is in the model's own options stays as it is.
        below = options.get(OVERRIDE)
        args = (*args[:OPTIONS], {**options, OVERRIDE: partial(values.override, below)}, *args[OPTIONS + 1 :])
        output = executor(*args, **kwargs)
        sampling = options["sample_sigmas"]
        if values.filtered:
            self._filtered = ref(sampling)
        elif step == 0 and self._filtered() is not sampling:  # later a cache may answer in the model's place
            raise ByTheWayError(
                f"{type(model).__name__} called no attention with the whole video in it that ComfyUI lets others see, "
                "so that nothing would be enhanced: another node has taken the place of its attention, or splits the "
                "video. Take that node or ByTheWay off the model."
            )
        return output


class Values:
    """The override of attention in one forward: filters the frames of the values that have the video in them."""

    def __init__(self, video: Video, config: ByTheWayConfig, latents: Tensor) -> None:
        self.video = video
        dtype = torch.promote_types(latents.dtype, torch.float32)
        self.circulant = frequency_filter(video.frames, config.tau, config.beta, dtype=dtype, device=latents.device)
        self.filtered = 0

    def override(
        self,
        below: Callable[..., Tensor] | None,
        function: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """An attention of the model, with its values filtered where the video is in them.

        Args:
            below: the override that was there before.
            function: ComfyUI's own attention.
            query, key, value: (batch, tokens, channels) or (batch, heads, tokens, channels of a head).
        """
        original = function if below is None else partial(below, function)
        if self._has_video(query, value):
            value = self._filter(value)
            self.filtered += 1
        return original(query, key, value, *args, **kwargs)

    def _has_video(self, query: Tensor, value: Tensor) -> bool:
        tokens = value.shape[-2]
        if tokens in self.video.texts:
            if tokens >= self.video.least and query.shape[-2] == tokens:
                raise ByTheWayError(
                    f"The video and its text have {tokens} tokens each, so that attention to the one cannot be told "
                    "from attention to the other; make another number of frames or another size."
                )
            return False
        return tokens >= self.video.least

    def _filter(self, value: Tensor) -> Tensor:
        """C V in a copy of its own: V may be a view of what others still want."""
        copy = value.clone(memory_format=torch.contiguous_format)
        filter_frames_(copy.flatten(0, -3), self.circulant, self.video.within(value.shape[-2]))
        return copy
