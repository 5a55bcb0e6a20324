"""Tiny modular pipelines of diffusers: one function for each, which returns (pipe, call) as those in `joint` do.

They are assembled from the parts of a pipeline that is not modular, with its denoiser; `run` gives the latents.
"""

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Wan22Blocks, WanBlocks
from diffusers.modular_pipelines.ltx import LTXBlocks

from tests.toys import joint

Tiny = tuple[Any, dict[str, Any]]


def assemble(blocks: Any, standard: Any, **components: Any) -> Any:
    """A modular pipeline with the parts of another and a scheduler of its own, without a text encoder."""
    blocks.sub_blocks.pop("text_encoder")
    pipe = blocks.init_pipeline()
    parts = {name: part for name, part in standard.components.items() if name in pipe.component_names and part}
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(standard.scheduler.config)
    pipe.update_components(**{**parts, "scheduler": scheduler, **components})
    return pipe


def _latents(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "output_type": "pt", "output": "latents"}


def wan(standard: Any = None, **components: Any) -> Tiny:
    """Text to video, as Wan 2.1."""
    pipe, call = joint.wan()
    return assemble(WanBlocks(), standard or pipe, **components), _latents(call)


def wan_2_2(standard: Any = None, **components: Any) -> Tiny:
    """Two transformers, as Wan 2.2 A14B: of four steps the first two are the first one's."""
    pipe, call = joint.wan_2_2()
    modular = assemble(Wan22Blocks(), standard or pipe, **components)
    modular.update_components(boundary_ratio=0.85)
    return modular, _latents(call)


def ltx(standard: Any = None, **components: Any) -> Tiny:
    """Text to video."""
    pipe, call = joint.ltx()
    return assemble(LTXBlocks(), standard or pipe, **components), _latents(call)


def run(pipe: Any, call: dict[str, Any], **changes: Any) -> torch.Tensor:
    latents: torch.Tensor = pipe(**{**call, "generator": torch.Generator().manual_seed(0), **changes})
    return latents.clone()
