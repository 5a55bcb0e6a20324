"""A real ComfyUI and AnimateDiff-Evolved in this process, and short ways to sample with toys."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import toys


def import_pack(folder: Path, name: str) -> Any:
    """A pack of nodes, as ComfyUI imports it."""
    file = folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class AnimateDiff:
    """AnimateDiff-Evolved with toys, and the nodes of it by their names."""

    def __init__(self, ade: Any, levels: int = 4) -> None:
        self.ade, self.levels = ade, levels
        self.image_model = toys.stable_diffusion(levels=levels)

    def node(self, name: str, **inputs: Any) -> Any:
        """The first output of a node."""
        made = self.ade.NODE_CLASS_MAPPINGS[name]
        return getattr(made(), made.FUNCTION)(**inputs)[0]

    def apply(self, seed: int = 1, version: str = "v3", **inputs: Any) -> Any:
        """A motion model of random weights, applied."""
        motion = toys.motion_model(self.ade, seed, self.levels, version)
        return self.node("ADE_ApplyAnimateDiffModel", motion_model=motion, **inputs)

    def evolved(self, model: Any = None, m_models: Any = None, **inputs: Any) -> Any:
        """A model that samples with motion."""
        models = {"m_models": self.apply() if m_models is None else m_models}
        return self.node(
            "ADE_UseEvolvedSampling",
            model=self.image_model if model is None else model,
            beta_schedule="autoselect",
            **models,
            **inputs,
        )

    def sample(self, model: Any, frames: int = 8, **settings: Any) -> torch.Tensor:
        """Latents of a clip, (frames, 4, 8, 8)."""
        width, pooled = (768, 0) if self.levels == 4 else (2048, 1280)
        texts = [toys.conditioning(77, width, seed, pooled) for seed in (1, 2)]
        return sample(model, torch.zeros(frames, 4, 8, 8), texts, **settings)


def sample(
    model: Any,
    latents: torch.Tensor,
    texts: list[Any],
    steps: int = 5,
    cfg: float = 7.0,
    sampler: str = "euler",
    callback: Callable[..., None] | None = None,
) -> torch.Tensor:
    """What ComfyUI's sampler makes of noise of one seed; `texts`: conditional and unconditional."""
    import comfy.sample

    noise = comfy.sample.prepare_noise(latents, 0)
    made: torch.Tensor = comfy.sample.sample(
        model, noise, steps, cfg, sampler, "normal", *texts, latents, callback=callback, disable_pbar=True, seed=0
    )
    return made


def sample_video(name: str, model: Any, frames: int = 5, text: int = 8, **settings: Any) -> torch.Tensor:
    """Latents of a clip by a video model, (1, channels, frames, 8, 8)."""
    # LTXV's mask of a batch of two is refused by the attention that is used on a CPU.
    settings = {"steps": 3, "cfg": 1.0 if name == "ltxv" else 5.0, **settings}
    texts = [toys.conditioning(text, 64, seed, 64) for seed in (1, 2)]
    if name in ("ltxv", "mochi"):
        for one in texts:
            one[0][1]["attention_mask"] = torch.ones(1, text, dtype=torch.long)
    return sample(model, torch.zeros(1, toys.CHANNELS[name], frames, 8, 8), texts, **settings)
