"""The progress bar of a node and the picture beside it, while a pipeline samples."""

from __future__ import annotations

from typing import Any, Final

import torch
from PIL import Image

from bytheway.clips.frames import as_frames
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.sample import Step

_LARGEST: Final = 512  # pixels


class Progress:
    """Hears of every denoising step: moves the bar, shows the middle frame, and lets ComfyUI end the run.

    Only autoencoders of single pictures are asked for a preview, since those of clips make all frames at once.
    """

    def __init__(self, pipe: VideoPipeline) -> None:
        self.pipe = pipe
        self._bar: Any = None

    def __call__(self, step: Step) -> None:
        from comfy.model_management import throw_exception_if_processing_interrupted
        from comfy.utils import ProgressBar

        throw_exception_if_processing_interrupted()
        total = step.steps * step.iterations
        if self._bar is None:
            self._bar = ProgressBar(total)
        frame = self._middle_frame(step.latents)
        preview = None if frame is None else ("JPEG", frame, _LARGEST)
        self._bar.update_absolute(step.iteration * step.steps + step.done, total, preview)

    @torch.no_grad()
    def _middle_frame(self, latents: Any) -> Image.Image | None:
        vae: Any = getattr(self.pipe, "vae", None)
        if type(vae).__name__ != "AutoencoderKL" or latents is None or latents.ndim != 5:
            return None
        middle = latents[:1, :, latents.shape[2] // 2].to(vae.dtype) / vae.config.scaling_factor
        decoded = vae.decode(middle).sample.float() / 2 + 0.5
        # The first steps of a run may decode to anything, which is no reason to end it.
        return Image.fromarray(as_frames(decoded.nan_to_num())[0])
