"""The progress bar of a node and the picture beside it, while a pipeline samples."""

from __future__ import annotations

from typing import Final

from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.job import PlannedClip
from bytheway.generation.previews import middle_frame
from bytheway.generation.sample import Step

_LARGEST: Final = 512  # pixels


class Progress:
    """Hears of every denoising step: moves the bar, shows the middle frame, and lets ComfyUI end the run."""

    def __init__(self, pipe: VideoPipeline, steps: int) -> None:
        """
        Args:
            pipe: that samples.
            steps: of all clips together.
        """
        from comfy.utils import ProgressBar

        self.pipe, self.steps = pipe, steps
        self._bar = ProgressBar(steps)
        self._done: dict[int, int] = {}  # by clip: of several some wait while others go on

    def __call__(self, step: Step) -> None:
        from comfy.model_management import throw_exception_if_processing_interrupted

        throw_exception_if_processing_interrupted()
        self.made(step.clips[0], step.iteration * step.steps + step.done)
        frame = middle_frame(self.pipe, step.latents)
        preview = None if frame is None else ("JPEG", frame, _LARGEST)
        self._bar.update_absolute(sum(self._done.values()), self.steps, preview)

    def made(self, clip: PlannedClip, steps: int) -> None:
        """So many steps of a clip are made; the last one before it waits is not told."""
        self._done[clip.index] = steps
