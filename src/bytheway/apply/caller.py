"""Who is calling the denoiser, and what the batch they send is made of."""

import sys
from types import FrameType
from typing import Any, NamedTuple

from diffusers import DiffusionPipeline, ModularPipeline, ModularPipelineBlocks
from diffusers.guiders import BaseGuidance

from bytheway.errors import ByTheWayError

_GUIDED = "do_classifier_free_guidance"


class Caller(NamedTuple):
    """Who runs the denoiser.

    Attributes:
        pipeline: the diffusers pipeline, modular or not; None in a loop of one's own.
        guided_local: what a local of its `__call__`, as the older pipelines have it, says of whether it guides.
        state: of a modular pipeline, what its blocks hand to one another.
    """

    pipeline: Any | None
    guided_local: bool | None
    state: Any = None

    def guides(self) -> bool | None:
        """Whether it says that it guides in one batch; None where nothing says so.

        Scales that differ between frames (Stable Video Diffusion) are on the device, which has to be waited for. The
        guiders of modular pipelines make a call of each condition.
        """
        if isinstance(self.pipeline, ModularPipeline) and any(
            isinstance(component, BaseGuidance) for component in self.pipeline.components.values()
        ):
            return False
        guided = getattr(self.pipeline, _GUIDED, self.guided_local)
        return None if guided is None else bool(guided)

    def num_timesteps(self) -> int | None:
        """How many entries of the scheduler's timesteps it says that its run covers; None where nothing says so."""
        timesteps = getattr(self.state, "timesteps", None)
        said: int | None = getattr(self.pipeline, "num_timesteps", None if timesteps is None else len(timesteps))
        return said


def find_caller() -> Caller:
    """The diffusers pipeline whose `__call__`, or that of one of its blocks, is nearest up the stack.

    Nothing that reaches the denoiser says who sent it, and pipelines that share a denoiser often share the scheduler
    too (`Pipeline(**other.components)`): the stack is the one place that always knows. Locals are read only in frames
    that are named `__call__`, a handful. Pipelines say in a property whether they guide, the older ones in a local. A
    block of a modular pipeline is handed the pipeline and the state, also where somebody calls it by itself.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__call__" and code.co_varnames[:1] == ("self",):
            candidate = frame.f_locals.get("self")
            if isinstance(candidate, DiffusionPipeline | ModularPipeline):
                return Caller(candidate, frame.f_locals.get(_GUIDED))
            if isinstance(candidate, ModularPipelineBlocks):
                pipeline, state = (frame.f_locals.get(name) for name in code.co_varnames[1:3])
                if isinstance(pipeline, ModularPipeline):
                    return Caller(pipeline, None, state)
        frame = frame.f_back
    return Caller(None, None)


def parts_of_batch(caller: Caller, batch: int, classifier_free_guidance: bool | None) -> tuple[int, int]:
    """How many times each video is in a batch, and which of them is conditional.

    A diffusers pipeline sends the unconditional part (classifier-free guidance), the conditional one and the perturbed
    one (PAG), in this order, and says which of them it uses.

    Args:
        classifier_free_guidance: what the user said, which counts where it was said: an unconditional half and a
            conditional one, or videos each by itself.

    Raises:
        ByTheWayError: nothing tells which of the two it is, or the batch has no halves.
    """
    guided = caller.guides() if classifier_free_guidance is None else classifier_free_guidance
    perturbed = bool(getattr(caller.pipeline, "do_perturbed_attention_guidance", False))
    if guided is None and batch % 2 == 0:
        raise ByTheWayError(
            f"Nothing tells whether a batch of {batch} is an unconditional and a conditional half; say so with "
            "classifier_free_guidance=True or False when applying bytheway."
        )
    if guided and not perturbed and batch % 2:
        raise ByTheWayError(
            f"A batch of {batch} has no unconditional and conditional half; give classifier_free_guidance=False."
        )
    return 1 + bool(guided) + perturbed, int(bool(guided))
