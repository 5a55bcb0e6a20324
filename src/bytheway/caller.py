"""Who is calling the denoiser, and what the batch they send is made of."""

import sys
from types import FrameType
from typing import Any

from diffusers import DiffusionPipeline

from bytheway.errors import ByTheWayError


def calling_pipeline() -> Any | None:
    """The diffusers pipeline whose `__call__` is nearest up the stack; None in a loop of one's own.

    Nothing that reaches the denoiser says who sent it, and pipelines that share a denoiser often share the scheduler
    too (`Pipeline(**other.components)`): the stack is the one place that always knows. Locals are read only in frames
    that are named `__call__`, a handful.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__call__" and code.co_varnames[:1] == ("self",):
            candidate = frame.f_locals.get("self")
            if isinstance(candidate, DiffusionPipeline):
                return candidate
        frame = frame.f_back
    return None


def parts_of_pipeline(pipeline: Any) -> tuple[int, int]:
    """How many times a pipeline sends each video, and which of them is conditional.

    The order in diffusers is: unconditional (classifier-free guidance), conditional, perturbed (PAG).
    """
    guided = bool(pipeline.do_classifier_free_guidance)
    perturbed = bool(getattr(pipeline, "do_perturbed_attention_guidance", False))
    return 1 + guided + perturbed, int(guided)


def parts_of_loop(classifier_free_guidance: bool | None, batch: int) -> tuple[int, int]:
    """The same for a loop of one's own, which sends an unconditional and a conditional half, or single videos.

    Raises:
        ByTheWayError: nothing tells which of the two it is, or the batch has no halves.
    """
    if classifier_free_guidance is None and batch % 2 == 0:
        raise ByTheWayError(
            f"The denoiser is called outside a pipeline with a batch of {batch}: say with classifier_free_guidance="
            "True or False whether that is an unconditional and a conditional half."
        )
    if classifier_free_guidance and batch % 2:
        raise ByTheWayError(
            f"A batch of {batch} has no unconditional and conditional half; give classifier_free_guidance=False."
        )
    return (2, 1) if classifier_free_guidance else (1, 0)
