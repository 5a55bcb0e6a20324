"""VideoCrafter2 as a model of diffusers: denoiser, scheduler and pipeline. Importing this does not import torch.

VideoCrafter2 (Chen et al., CVPR 2024, arXiv 2401.09047) is diffusers' 3D UNet with an embedding of the frame rate, and
DDIM with a signal scale. A saved pipeline names this module in its `model_index.json`, which is how diffusers finds the
classes again.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bytheway.models.videocrafter.pipeline import VideoCrafterPipeline, VideoCrafterPipelineOutput
    from bytheway.models.videocrafter.scheduler import VideoCrafterScheduler
    from bytheway.models.videocrafter.unet import VideoCrafterUNet

__all__ = ["VideoCrafterPipeline", "VideoCrafterPipelineOutput", "VideoCrafterScheduler", "VideoCrafterUNet"]

_MODULES = {
    "VideoCrafterPipeline": "pipeline",
    "VideoCrafterPipelineOutput": "pipeline",
    "VideoCrafterScheduler": "scheduler",
    "VideoCrafterUNet": "unet",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
