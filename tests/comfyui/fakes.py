"""Small fakes of ComfyUI and AnimateDiff-Evolved: what they do where the room meets them, with listed attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tests.comfyui.listed import Listed, ListedModule, Options, judge


class ModelPatcher(Listed):
    """Holds a model and the wrappers around its forward; clones share the model alone."""

    def __init__(self, model: Any, wrappers: dict[tuple[str, str], list[Any]] | None = None) -> None:
        super().__init__(model=model, wrappers=wrappers or {})

    def clone(self) -> ModelPatcher:
        return ModelPatcher(self.model, {key: list(some) for key, some in self.wrappers.items()})

    def remove_wrappers_with_key(self, kind: str, key: str) -> None:
        self.wrappers.pop((kind, key), None)

    def add_wrapper_with_key(self, kind: str, key: str, wrapper: Any) -> None:
        self.wrappers.setdefault((kind, key), []).append(wrapper)

    def apply(self, latents: Tensor, text: Tensor | None, options: dict[str, Any], **more: Any) -> Any:
        """A forward, through all wrappers."""
        wrappers = [one for some in self.wrappers.values() for one in some]
        sigma = options["sigmas"]
        return Executor(self.model, wrappers)(latents, sigma, None, text, None, options, **more)


class Executor(Listed):
    """Calls the next wrapper, at last the model."""

    def __init__(self, model: Any, wrappers: list[Any]) -> None:
        super().__init__(class_obj=model, wrappers=wrappers)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.wrappers:
            return self.wrappers[0](Executor(self.class_obj, self.wrappers[1:]), *args, **kwargs)
        return self.class_obj.diffusion_model(args[0], args[3], args[5], **kwargs)


class InterruptedByUserError(BaseException):
    """What ComfyUI throws where the user wants the run to end."""


class BaseModel(Listed):
    pass


class AnimateDiffGlobalState(Listed):
    pass


class _Module(nn.Module):
    def __getattribute__(self, name: str) -> Any:
        judge(type(self).__name__, name)
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        judge(type(self).__name__, name)
        super().__setattr__(name, value)


def own_attention(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    split = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (query, key, value))
    return scaled_dot_product_attention(*split, attn_mask=mask).transpose(1, 2).flatten(2)


class VersatileAttention(_Module):
    """Attends over the frames of each pixel: (parts * F, pixels, channels) in and out."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.is_cross_attention, self.actual_attention = heads, False, own_attention
        self.mask: Tensor | None = None
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        for projection, spread in ((self.to_q, 0.5), (self.to_k, 0.5), (self.to_v, 0.1)):
            nn.init.normal_(projection.weight, std=spread)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, hidden: Tensor, frames: int) -> Tensor:
        pixels = hidden.shape[1]
        rows = hidden.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)
        out = self.actual_attention(self.to_q(rows), self.to_k(rows), self.to_v(rows), self.heads, self.mask)
        return self.to_out(out).unflatten(0, (-1, pixels)).transpose(1, 2).flatten(0, 1)


class TemporalTransformerBlock(_Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(VersatileAttention(channels, heads) for _ in range(2))


class TemporalTransformer3DModel(_Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([TemporalTransformerBlock(channels, heads)])


class VanillaTemporalModule(_Module):
    """A motion module: feature maps (parts * F, channels, height, width), with an effect, in views of some frames."""

    def __init__(self, channels: int, heads: int, block_idx: int, module_idx: int) -> None:
        super().__init__()
        self.block_type, self.block_idx, self.module_idx = "up", block_idx, module_idx
        self.temporal_transformer = TemporalTransformer3DModel(channels, heads)
        self.effect, self.frames, self.view = 1.0, 16, 0

    def forward(self, maps: Tensor) -> Tensor:
        if self.effect == 0:
            return maps
        height, width = maps.shape[-2:]
        hidden = maps.flatten(2).transpose(1, 2)
        for attention in self.temporal_transformer.transformer_blocks[0].attention_blocks:
            if not self.view:
                hidden = hidden + attention(hidden, self.frames)
                continue
            clips = hidden.unflatten(0, (-1, self.frames))
            views = [clips[:, start : start + self.view] for start in range(0, self.frames, self.view)]
            seen = [attention(one.flatten(0, 1), self.view).unflatten(0, (-1, self.view)) for one in views]
            hidden = hidden + torch.cat(seen, 1).flatten(0, 1)
        return hidden.transpose(1, 2).unflatten(2, (height, width))


class UNetModel(_Module):
    """The decoder of a UNet: every level doubles the size, and has motion modules behind an image layer."""

    def __init__(self, levels: int = 4, models: int = 1, channels: int = 8) -> None:
        super().__init__()
        blocks = []
        for level in range(levels):
            for module in range(2):
                motion = [VanillaTemporalModule(channels, 2, level, module) for _ in range(models)]
                blocks.append(nn.ModuleList([nn.Identity(), *motion]))
        self.output_blocks = nn.ModuleList(blocks)
        self.levels = levels

    def motion(self) -> list[Any]:
        return [one for one in self.modules() if type(one).__name__ == "VanillaTemporalModule"]

    def forward(self, maps: Tensor, text: Any, options: dict[str, Any]) -> Tensor:
        parts = len(options["cond_or_uncond"])
        for number, block in enumerate(self.output_blocks):
            if number and number % 2 == 0:
                maps = nn.functional.interpolate(maps, scale_factor=2)
            for layer in block:
                if type(layer).__name__ == "VanillaTemporalModule":
                    layer.frames = len(maps) // parts
                maps = layer(maps)
        return maps


def animated(seed: int = 0, **sizes: int) -> ModelPatcher:
    """A model with motion modules of random weights."""
    torch.manual_seed(seed)
    return ModelPatcher(BaseModel(diffusion_model=UNetModel(**sizes).eval()))


def options(step: int = 0, steps: int = 5, parts: tuple[int, ...] = (1, 0), **more: Any) -> Options:
    """What a forward is told in a step of a sampler with noise levels steps, ..., 2, 1, 0."""
    schedule = torch.arange(steps, -1, -1).float()
    return Options(sigmas=schedule[step : step + 1], sample_sigmas=schedule, cond_or_uncond=list(parts), **more)


# ComfyUI's nodes.


@dataclass
class Input:
    id: str
    said: dict[str, Any]
    kind: str


@dataclass
class Schema:
    node_id: str
    display_name: str = ""
    category: str = ""
    description: str = ""
    is_input_list: bool = False
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Input] = field(default_factory=list)


class NodeOutput(tuple[Any, ...]):
    def __new__(cls, *values: Any) -> NodeOutput:
        return super().__new__(cls, values)


def _kind(kind: str, said: str = "") -> Any:
    """A type of inputs by its name, with what an input of this type can be told in every ComfyUI that is supported."""
    allowed = set(said.split()) | {"display_name", "tooltip", "optional", "lazy"}

    def make_input(id: str, **more: Any) -> Input:
        assert set(more) <= allowed, set(more) - allowed
        return Input(id, more, kind)

    def make_output(id: str, **more: Any) -> Input:
        assert set(more) <= {"display_name", "tooltip", "is_output_list"}
        return Input(id, more, kind)

    return SimpleNamespace(Input=make_input, Output=make_output)


class IO(Listed):
    """`comfy_api.latest.io`, of a ComfyUI that knows no search_aliases yet."""


IO.__name__ = "io"
_NUMBER = "default min max step"


class ProgressBar(Listed):
    made: list[ProgressBar] = []  # noqa: RUF012  # of this test's process

    def __init__(self, total: int) -> None:
        super().__init__(total=total, seen=[])
        ProgressBar.made.append(self)

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        self.seen.append((value, total, preview))


def unload_all_models() -> None:
    """What ComfyUI has on the device leaves it."""
    UNLOADED.append(True)


UNLOADED: list[bool] = []


def modules(interrupted: Callable[[], None]) -> dict[str, ListedModule]:
    """ComfyUI's modules by name.

    Args:
        interrupted: what throws where the user wants the run to end.
    """
    io = IO(
        AnyType=_kind("*"),
        Boolean=_kind("BOOLEAN", "default"),
        Combo=_kind("COMBO", "options default"),
        ComfyNode=type("ComfyNode", (), {}),
        Custom=_kind,
        Float=_kind("FLOAT", _NUMBER),
        Image=_kind("IMAGE"),
        Int=_kind("INT", f"{_NUMBER} control_after_generate"),
        Model=_kind("MODEL"),
        NodeOutput=NodeOutput,
        Schema=Schema,
        String=_kind("STRING", "default multiline"),
    )
    contents: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.patcher_extension": {"WrappersMP": Listed.__new__(type("WrappersMP", (Listed,), {}))},
        "comfy.model_management": {
            "get_torch_device": lambda: torch.device("cpu"),
            "throw_exception_if_processing_interrupted": interrupted,
            "unload_all_models": unload_all_models,
        },
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy_api": {},
        "comfy_api.latest": {"ComfyExtension": type("ComfyExtension", (), {}), "io": io},
    }
    made = {}
    for name, inside in contents.items():
        made[name] = ListedModule(name)
        made[name].__dict__.update(inside)
    made["comfy.patcher_extension"].__dict__["WrappersMP"].__dict__["APPLY_MODEL"] = "apply_model"
    return made
