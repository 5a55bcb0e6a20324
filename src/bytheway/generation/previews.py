"""A picture of a clip while it is made."""

from __future__ import annotations

from typing import Any

from PIL import Image

from bytheway.clips.frames import as_frames
from bytheway.families.pipeline import VideoPipeline


def middle_frame(pipe: VideoPipeline, latents: Any) -> Image.Image | None:
    """The middle frame of the first clip of a batch, decoded.

    Only autoencoders of single pictures are asked for it, since those of clips make all frames at once.

    Args:
        pipe: the pipeline.
        latents: of the clips, (clips, channels, frames, height, width); None: there are none yet.

    Returns:
        The frame; None where it cannot be had cheaply.
    """
    import torch

    vae: Any = getattr(pipe, "vae", None)
    if type(vae).__name__ != "AutoencoderKL" or latents is None or latents.ndim != 5:
        return None
    with torch.no_grad():
        middle = latents[:1, :, latents.shape[2] // 2].to(vae.dtype) / vae.config.scaling_factor
        decoded = vae.decode(middle).sample.float() / 2 + 0.5
    # The first steps of a run may decode to anything, which is no reason to end it.
    return Image.fromarray(as_frames(decoded.nan_to_num())[0])
