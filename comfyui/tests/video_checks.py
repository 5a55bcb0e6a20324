"""What is held against ComfyUI's own video models, and against other patches on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import toys
from harness import import_pack, sample_video

import bytheway.comfyui.video as room
from bytheway import ByTheWayConfig, method
from bytheway.comfyui.video import ValueEnhancement
from bytheway.comfyui.wrapper import install

CONFIG = ByTheWayConfig(alpha=0.0, beta=2.0, tau=7, active_steps=0.4)
TEXT, FRAMES, PER_FRAME = 8, 5, 16
# Where the video is, told here by hand: after the text, or before it.
FIRST = {"wan": 0, "cogvideox": TEXT, "hunyuanvideo": TEXT, "ltxv": 0, "mochi": 0}


class Compared:
    """Holds every filtered value against its definition: the frames of each place, in float64."""

    def __init__(self, start: int, per_frame: int) -> None:
        self.start, self.per_frame, self.calls, self.largest = start, per_frame, 0, 0.0

    def __enter__(self) -> Compared:
        self._own = room.Values._filter
        compared = self

        def attend(values: Any, value: Any) -> Any:
            made = compared._own(values, value)
            rows = slice(compared.start, compared.start + FRAMES * compared.per_frame)
            circulant = method.frequency_filter(FRAMES, CONFIG.tau, CONFIG.beta, dtype=torch.float64)
            frames = value[..., rows, :].double().unflatten(-2, (FRAMES, -1))
            wanted = value.double().clone()
            wanted[..., rows, :] = torch.einsum("fg,...gpc->...fpc", circulant, frames).flatten(-3, -2)
            compared.largest = max(compared.largest, float((made - wanted).abs().max()))
            compared.calls += 1
            return made

        room.Values._filter = attend  # type: ignore[assignment, method-assign]
        return self

    def __exit__(self, *error: Any) -> None:
        room.Values._filter = self._own  # type: ignore[method-assign]


def start_of(name: str) -> int:
    """Number of tokens before the video; HunyuanVideo had its text last before its blocks lost a switch for that."""
    from comfy.ldm.flux.layers import DoubleStreamBlock

    switched = "flipped_img_txt" in signature(DoubleStreamBlock.__init__).parameters
    return 0 if name == "hunyuanvideo" and switched else FIRST[name]


def check_model(name: str) -> str:
    import comfy.supported_models

    if name == "cogvideox" and not hasattr(comfy.supported_models, "CogVideoX_T2V"):
        return "not in this ComfyUI"
    model = toys.video_model(name)
    vanilla = sample_video(name, model)
    with Compared(start_of(name), 64 if name == "ltxv" else PER_FRAME) as seen:
        enhanced = sample_video(name, install(model, ValueEnhancement(CONFIG)))
    assert seen.calls
    assert seen.largest < 1e-5, seen.largest
    assert torch.isfinite(enhanced).all()
    assert not torch.equal(vanilla, enhanced)
    assert torch.equal(vanilla, sample_video(name, model))
    return (
        f"{seen.calls} attentions filtered, within {seen.largest:.1e} of the definition; vanilla bit-equal afterwards"
    )


def check_overrides() -> str:
    """Another override, before and after ours."""
    model, calls = toys.video_model("wan"), []

    def other(function: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(len(args))
        return function(*args, **kwargs)

    vanilla, alone = sample_video("wan", model), sample_video("wan", install(model, ValueEnhancement(CONFIG)))
    both = []
    for first in (True, False):
        patched = model.clone() if first else install(model, ValueEnhancement(CONFIG))
        patched.model_options["transformer_options"]["optimized_attention_override"] = other
        both.append(sample_video("wan", install(patched, ValueEnhancement(CONFIG)) if first else patched))
    assert all(torch.equal(alone, one) for one in both)
    assert torch.equal(vanilla, sample_video("wan", model))
    return f"another override, before or after: called {len(calls)} times, frames bit-equal to ours alone"


def check_cache() -> str:
    """A cache of whole forwards, as EasyCache and TeaCache have, before and after ours."""
    from comfy.patcher_extension import WrappersMP

    model = toys.video_model("wan")
    vanilla = sample_video("wan", model)

    def cached() -> Callable[..., Any]:
        kept: list[Any] = []

        def wrapper(executor: Any, *args: Any, **kwargs: Any) -> Any:
            if not kept:
                kept.append(executor(*args, **kwargs))
                return kept[0]
            return kept.pop()

        return wrapper

    made = []
    for kind in (WrappersMP.DIFFUSION_MODEL, WrappersMP.APPLY_MODEL):
        for first in (True, False):
            patched = model.clone() if first else install(model, ValueEnhancement(CONFIG))
            patched.add_wrapper_with_key(kind, "cache", cached())
            made.append(sample_video("wan", install(patched, ValueEnhancement(CONFIG)) if first else patched))
    assert all(torch.isfinite(one).all() for one in made)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[2], made[3])
    assert torch.equal(vanilla, sample_video("wan", model))
    return "a cache around the denoiser or around the forward, before or after ours: the same frames either way"


def check_compiled() -> str:
    """ComfyUI's way to compile a whole model, before and after ours."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    def unguarded(entries: Any) -> list[bool]:  # as in ComfyUI's node Torch Compile
        return ["transformer_options" not in entry.name for entry in entries]

    model = toys.video_model("wan")
    vanilla, wanted = sample_video("wan", model), sample_video("wan", install(model, ValueEnhancement(CONFIG)))
    worst = 0.0
    for first in (True, False):
        patched = model.clone() if first else install(model, ValueEnhancement(CONFIG))
        set_torch_compile_wrapper(model=patched, backend="eager", options={"guard_filter_fn": unguarded})
        made = sample_video("wan", install(patched, ValueEnhancement(CONFIG)) if first else patched)
        worst = max(worst, float((made - wanted).abs().max() / (wanted - vanilla).abs().max()))
    assert torch.equal(vanilla, sample_video("wan", model))
    assert worst < 0.01, worst
    return f"Torch Compile on wan, before or after ours: off by {worst:.1e} of what the method changes"


def check_enhance_a_video(kjnodes: Path) -> str:
    """KJNodes' Enhance-A-Video on Wan and LTXV, before and after ours."""
    import_pack(kjnodes, "kjnodes")
    nodes = sys.modules["kjnodes.nodes.model_optimization_nodes"]
    said = []
    for name, node in (("wan", "WanVideoEnhanceAVideoKJ"), ("ltxv", "LTXVEnhanceAVideoKJ")):
        model = toys.video_model(name)
        latent = {"samples": torch.zeros(1, toys.CHANNELS[name], FRAMES, 8, 8)}
        enhance = getattr(nodes, node)().enhance
        theirs = sample_video(name, enhance(model, 2.0, latent)[0])
        first = sample_video(name, install(enhance(model, 2.0, latent)[0], ValueEnhancement(CONFIG)))
        last = sample_video(name, enhance(install(model, ValueEnhancement(CONFIG)), 2.0, latent)[0])
        assert torch.equal(first, last)
        assert not torch.equal(first, theirs)
        said.append(name)
    return f"Enhance-A-Video before or after ours on {' and '.join(said)}: bit-equal, and not what it makes alone"


def check_windows() -> str:
    """ComfyUI's own context windows on Wan."""
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    model = toys.video_model("wan")
    windows = WanContextWindowsManualNode.execute(
        model, 17, 4, "standard_static", 1, False, "pyramid", False
    ).result[0]  # fmt: skip
    vanilla = sample_video("wan", windows, frames=8)
    enhanced = sample_video("wan", install(windows, ValueEnhancement(CONFIG)), frames=8)
    assert torch.isfinite(enhanced).all()
    assert not torch.equal(vanilla, enhanced)
    assert torch.equal(vanilla, sample_video("wan", windows, frames=8))
    return "8 latent frames in windows of 5: changed, finite, vanilla bit-equal afterwards"
