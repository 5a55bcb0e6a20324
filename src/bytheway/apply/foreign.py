"""Every private part of other packages that we lean on, in one place; each has a test that fails where it changes.

Seen in torch 2.13, diffusers 0.42, accelerate 1.15 and transformers 5.23 (`tests/apply/test_foreign.py`).
"""

from __future__ import annotations

from typing import Final

from diffusers.models.attention_processor import PAGCFGIdentitySelfAttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0
from diffusers.pipelines.free_noise_utils import SplitInferenceModule
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule

from bytheway.families.pipeline import Model, VideoPipeline

# diffusers puts the registry of a module's hooks here, and a forward of its own over that of the class.
REGISTRY_ATTRIBUTE: Final = "_diffusers_hook"
# accelerate's hooks keep the forward that they go around here.
ACCELERATE_FORWARD: Final = "_old_forward"

# In the last part of the batch these put the identity in the place of the map (PAG), which leaves nothing to enhance.
PERTURBING_PROCESSORS: Final = (PAGCFGIdentitySelfAttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0)

__all__ = [
    "ACCELERATE_FORWARD",
    "PERTURBING_PROCESSORS",
    "REGISTRY_ATTRIBUTE",
    "OptimizedModule",
    "SplitInferenceModule",
    "is_compiled",
    "is_compiled_in_part",
]


def is_compiled(denoiser: nn.Module, pipeline: VideoPipeline | None) -> bool:
    """Whether torch.compile has the denoiser as a whole: in place, or around it as a component of the pipeline."""
    around = () if pipeline is None else pipeline.components.values()
    return denoiser._compiled_call_impl is not None or any(
        isinstance(component, OptimizedModule) and component._orig_mod is denoiser for component in around
    )


def is_compiled_in_part(denoiser: nn.Module, model: Model) -> bool:
    """Whether torch.compile has anything of the denoiser, or of the pipeline that uses it."""
    outer = [model] if isinstance(model, nn.Module) else vars(model).values()
    return any(
        isinstance(one, OptimizedModule) or getattr(one, "_compiled_call_impl", None) is not None
        for one in (*outer, *denoiser.modules())
    )
