"""The progress bar of a node and the picture beside it, while a pipeline samples."""

from __future__ import annotations

from typing import Any, Final

from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.previews import middle_frame
from bytheway.generation.sample import Step

_LARGEST: Final = 512  # pixels


class Progress:
    """Hears of every denoising step: moves the bar, shows the middle frame, and lets ComfyUI end the run."""

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
        frame = middle_frame(self.pipe, step.latents)
        preview = None if frame is None else ("JPEG", frame, _LARGEST)
        self._bar.update_absolute(step.iteration * step.steps + step.done, total, preview)
