"""VideoCrafter2 as a model of diffusers: denoiser, scheduler and pipeline. Importing this does not import torch.

VideoCrafter2 (Chen et al., CVPR 2024, arXiv 2401.09047) is diffusers' 3D UNet with an embedding of the frame rate, and
DDIM with a signal scale. The `model_index.json` of a saved pipeline names this module as the home of the two classes.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bytheway.models.videocrafter.pipeline import VideoCrafterPipeline, VideoCrafterPipelineOutput
    from bytheway.models.videocrafter.scheduler import VideoCrafterScheduler
    from bytheway.models.videocrafter.unet import VideoCrafterUNet

__all__ = ["VideoCrafterPipeline", "VideoCrafterPipelineOutput", "VideoCrafterScheduler", "VideoCrafterUNet"]

_HOMES = {
    "VideoCrafterPipeline": "bytheway.models.videocrafter.pipeline",
    "VideoCrafterPipelineOutput": "bytheway.models.videocrafter.pipeline",
    "VideoCrafterScheduler": "bytheway.models.videocrafter.scheduler",
    "VideoCrafterUNet": "bytheway.models.videocrafter.unet",
    # In the module that a model_index.json names, diffusers looks for these too: they tell it how to load a component.
    "ModelMixin": "diffusers",
    "SchedulerMixin": "diffusers",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
