"""Motion enhancement on fakes of ComfyUI's video models: which values are filtered, and where in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bytheway import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.method import frequency_filter
from tests.comfyui.fakes import BaseModel, ModelPatcher, options
from tests.comfyui.listed import Inputs, Listed

FRAMES, TEXT = 4, 5
CONFIG = ByTheWayConfig(alpha=0.0, beta=2.0, tau=1)


def ordinary(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """ComfyUI's attention, of which only the values matter here: it hands out what it was given."""
    return value


class Denoiser(Listed):
    """Calls attentions with the values that it was given, and returns what each has got."""

    def __call__(self, latents: Tensor, text: Any, said: dict[str, Any], **more: Any) -> list[Tensor]:
        override = said.get("optimized_attention_override")
        got = []
        for query, value in self.calls:
            attend: Callable[..., Tensor] = ordinary
            if override is not None:
                attend = lambda *args, **kwargs: override(ordinary, *args, **kwargs)  # noqa: E731
            got.append(attend(query, value.clone(), value, heads=1, transformer_options=said))
        return got


def model(name: str, calls: list[tuple[Tensor, Tensor]], **attributes: Any) -> ModelPatcher:
    kind = type(name, (Denoiser,), {})
    return ModelPatcher(BaseModel(diffusion_model=kind(calls=calls, **attributes)))


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def inputs_are_listed(monkeypatch: pytest.MonkeyPatch, comfy: Any) -> None:
    """ComfyUI hands them over by keywords, which makes a plain dict of them."""
    from bytheway.comfyui import video

    call = video.Call
    monkeypatch.setattr(video, "Call", lambda *said: call(*said[:-1], Inputs(said[-1])))


def enhanced(patcher: Any, config: ByTheWayConfig | None = CONFIG) -> Any:
    from bytheway.comfyui.video import ValueEnhancement
    from bytheway.comfyui.wrapper import install

    return install(patcher, ValueEnhancement(config))


def run(patcher: Any, size: tuple[int, int, int] = (FRAMES, 4, 6), text: int | None = TEXT, **more: Any) -> Any:
    """What the attentions get, for latents of a size and a text of so many tokens."""
    said = more.pop("said", None) or options()
    return patcher.apply(torch.zeros(2, 16, *size), None if text is None else torch.zeros(2, text, 8), said, **more)


def filtered(value: Tensor, start: int, frames: int, per_frame: int, config: ByTheWayConfig = CONFIG) -> Tensor:
    """By the definition: the frames of each place, in float64."""
    circulant = frequency_filter(frames, config.tau, config.beta, dtype=torch.float64)
    wanted = value.double().clone()
    for place in range(per_frame):
        rows = [start + frame * per_frame + place for frame in range(frames)]
        wanted[..., rows, :] = torch.einsum("fg,...gc->...fc", circulant, value.double()[..., rows, :])
    return wanted


WAN = {"patch_size": (1, 2, 2), "ref_conv": None}
CASES: dict[str, tuple[str, dict[str, Any], int, int, tuple[int, int, int], dict[str, Any]]] = {
    # name, attributes, tokens before the video, tokens in all, (frames, per frame, dimensions of V), inputs
    "wan": ("WanModel", WAN, 0, 24, (4, 6, 3), {}),
    "wan with a reference": (
        "WanModel", WAN | {"ref_conv": object()}, 6, 30, (4, 6, 3), {"reference_latent": torch.zeros(2, 16, 4, 6)},
    ),
    "wan with contexts behind": ("CameraWanModel", WAN, 0, 40, (4, 6, 3), {}),
    "wan animate": ("AnimateWanModel", WAN, 6, 24, (3, 6, 3), {}),
    "hunyuan": ("HunyuanVideo", {"patch_size": [1, 2, 2], "double_blocks": [object()]}, 9, 33, (4, 6, 4), {}),
    "hunyuan with text last": (
        "HunyuanVideo",
        {"patch_size": [1, 2, 2], "double_blocks": [type("DoubleStreamBlock", (Listed,), {})(flipped_img_txt=True)]},
        0, 33, (4, 6, 4), {},
    ),
    "cogvideox": ("CogVideoXTransformer3DModel", {"patch_size": 2, "patch_size_t": None}, 5, 29, (4, 6, 3), {}),
    "cogvideox 1.5": ("CogVideoXTransformer3DModel", {"patch_size": 2, "patch_size_t": 2}, 5, 17, (2, 6, 3), {}),
    "ltxv": ("LTXVModel", {}, 0, 96, (4, 24, 3), {}),
    "ltxv with keyframes": ("LTXVModel", {}, 0, 90, (3, 24, 3), {"keyframe_idxs": torch.zeros(2, 3, 24)}),
    "mochi": ("AsymmDiTJoint", {"patch_size": 2}, 0, 27, (4, 6, 4), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_frames_of_the_video_are_filtered_and_nothing_else(case: str) -> None:
    name, attributes, start, tokens, (frames, per_frame, dimensions), inputs = CASES[case]
    shape = (2, tokens, 8) if dimensions == 3 else (2, 3, tokens, 8)
    value = values(*shape)
    given = value.clone()
    patcher = model(name, [(value, value)], **attributes)
    [got] = run(enhanced(patcher), **inputs)
    wanted = filtered(given, start, frames, per_frame)
    assert torch.allclose(got.double(), wanted, atol=1e-5)
    untouched = [n for n in range(tokens) if not start <= n < start + frames * per_frame]
    assert torch.equal(got[..., untouched, :], given[..., untouched, :])
    assert not torch.allclose(got, given, atol=1e-2)
    assert torch.equal(value, given), "the model's own values"
    assert torch.equal(run(patcher, **inputs)[0], given), "vanilla afterwards"


def test_odd_sizes_are_padded_to_whole_patches() -> None:
    value = values(2, 4 * 2 * 3, 8)
    [got] = run(enhanced(model("WanModel", [(value, value)], **WAN)), size=(4, 3, 5))
    assert torch.allclose(got.double(), filtered(value, 0, 4, 6), atol=1e-5)


def test_values_may_be_a_view() -> None:
    """Mochi's are a transposed one."""
    value = values(2, 27, 3, 8).transpose(1, 2)
    [got] = run(enhanced(model("AsymmDiTJoint", [(value, value)], patch_size=2)))
    assert torch.allclose(got.double(), filtered(value, 0, 4, 6), atol=1e-5)


def test_a_query_cut_in_pieces_has_the_values_filtered_each_time() -> None:
    """LTXV's guides."""
    value = values(2, 96, 8)
    both = run(enhanced(model("LTXVModel", [(value[:, :60], value), (value[:, 60:], value)])))
    for got in both:
        assert torch.allclose(got.double(), filtered(value, 0, 4, 24), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "attributes", "tokens"),
    [
        ("WanModel", WAN, 30),
        ("LTXVModel", {}, 100),
        ("HunyuanVideo", {"patch_size": [1, 2, 2], "double_blocks": [object()]}, 30),
    ],
)
def test_attention_to_a_long_text_is_left_alone(name: str, attributes: dict[str, Any], tokens: int) -> None:
    count = 24 if tokens == 30 else 96
    query, text = values(2, count, 8), values(2, tokens, 8, seed=1)
    video = query
    if name == "HunyuanVideo":  # a refiner, which attends from the text to itself
        query, video = text, values(2, tokens + count, 8)
    got, enhanced_video = run(enhanced(model(name, [(query, text), (video, video)], **attributes)), text=tokens)
    assert torch.equal(got, text)
    assert not torch.equal(enhanced_video, video)


def test_attention_to_an_image_is_left_alone() -> None:
    query, image = values(2, 24, 8), values(2, 30, 8, seed=1)
    calls = [(query, query), (query, image)]
    got = run(enhanced(model("WanModel", calls, **WAN)), clip_fea=torch.zeros(2, 30, 4))
    assert not torch.equal(got[0], query)
    assert torch.equal(got[1], image)


def test_a_text_as_long_as_the_video_is_said() -> None:
    value = values(2, 24, 8)
    with pytest.raises(ByTheWayError, match="24 tokens each"):
        run(enhanced(model("WanModel", [(value, value)], **WAN)), text=24)


def test_an_earlier_override_stays_and_is_called_with_the_filtered_values() -> None:
    value, seen = values(2, 24, 8), []

    def earlier(function: Any, query: Tensor, key: Tensor, given: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append(kwargs)
        return 10 * function(query, key, given, *args, **kwargs)

    said = options(optimized_attention_override=earlier)
    patcher = model("WanModel", [(value, value), (value, values(2, 5, 8))], **WAN)
    got = run(enhanced(patcher), said=said)
    assert torch.allclose(got[0].double(), 10 * filtered(value, 0, 4, 6), atol=1e-4)
    assert [one["heads"] for one in seen] == [1, 1]
    assert said["optimized_attention_override"] is earlier


@pytest.mark.parametrize("order", ["cache first", "cache last"])
def test_a_cache_of_whole_forwards_may_come_before_or_after(order: str) -> None:
    """As TeaCache and EasyCache: every second forward is answered from memory."""
    value = values(2, 24, 8)

    class Cache:
        kept: Any = None

        def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
            if self.kept is None:
                self.kept = executor(*args, **kwargs)
                return self.kept
            kept, self.kept = self.kept, None
            return kept

    plain = model("WanModel", [(value, value)], **WAN)
    patcher = plain.clone() if order == "cache first" else enhanced(plain)
    patcher.add_wrapper_with_key("apply_model", "cache", Cache())
    patcher = enhanced(patcher) if order == "cache first" else patcher
    said = options()
    assert torch.equal(run(patcher, said=said)[0], run(enhanced(plain))[0])
    assert torch.equal(run(patcher, said=said)[0], run(enhanced(plain))[0])
    assert torch.equal(run(plain)[0], value)


def test_acts_in_the_first_steps_alone_and_one_is_off() -> None:
    value = values(2, 24, 8)
    patcher = model("WanModel", [(value, value)], **WAN)
    changed = [not torch.equal(run(enhanced(patcher), said=options(step))[0], value) for step in range(5)]
    assert changed == [True, False, False, False, False]
    assert torch.equal(run(enhanced(patcher, CONFIG.replace(beta=1.0)))[0], value)


def test_a_broken_forward_leaves_nothing_behind() -> None:
    value = values(2, 24, 8)
    patcher = model("WanModel", [(value, value), (value, None)], **WAN)  # type: ignore[list-item]
    said = options()
    with pytest.raises(AttributeError):
        run(enhanced(patcher), said=said)
    assert "optimized_attention_override" not in said


def test_by_model_has_the_numbers_of_the_family() -> None:
    from bytheway.families.known import presets

    value = values(2, 24, 8)
    [got] = run(enhanced(model("WanModel", [(value, value)], **WAN), None))
    assert torch.allclose(got.double(), filtered(value, 0, 4, 6, presets()["wan"].config), atol=1e-5)


def test_every_model_has_a_preset() -> None:
    from bytheway.comfyui.video import MODELS
    from bytheway.families.known import presets

    assert {one.preset for one in MODELS.values()} <= set(presets())


def test_models_that_are_not_known_are_said() -> None:
    with pytest.raises(ByTheWayError, match="where VaceWanModel has its video"):
        run(enhanced(model("VaceWanModel", [])))
    with pytest.raises(ByTheWayError, match="makes images"):
        run(enhanced(model("HunyuanVideo", [], patch_size=[2, 2], double_blocks=[object()])))


def test_a_model_in_which_nothing_would_be_enhanced_is_said() -> None:
    half = values(2, 12, 8)
    for calls in ([], [(half, half)]):  # its attention was replaced; it gets a share of the tokens
        patcher = enhanced(model("WanModel", calls, **WAN))
        for _ in range(2):
            with pytest.raises(ByTheWayError, match="nothing would be enhanced"):
                run(patcher)


def test_the_active_steps_of_each_model_are_its_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    from bytheway.comfyui import video
    from bytheway.families.known import presets

    longer = presets()["mochi"]
    longer = dataclasses.replace(longer, config=longer.config.replace(active_steps=0.6))
    monkeypatch.setattr(video, "presets", lambda: {**presets(), "mochi": longer})
    value = values(2, 27, 3, 8).transpose(1, 2)
    patcher = enhanced(model("AsymmDiTJoint", [(value, value)], patch_size=2), None)
    changed = [not torch.equal(run(patcher, said=options(step))[0], value) for step in range(5)]
    assert changed == [True, True, True, False, False]


class WanModel(torch.nn.Module):
    """Compiled, as ComfyUI's Torch Compile node leaves it."""

    patch_size, ref_conv = (1, 2, 2), None

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, latents: Tensor, text: Any, said: dict[str, Any], **more: Any) -> list[Tensor]:
        value, override = self.value * 1, said.get("optimized_attention_override")
        return [value if override is None else override(ordinary, value, value, value)]


def test_a_compiled_model_is_enhanced_in_the_active_steps_and_compiled_in_the_others() -> None:
    """ComfyUI has no guards on the options: a compiled forward would do in each step what it did in the first."""
    value, graphs = values(2, 24, 8), []

    def backend(graph: Any, inputs: Any, **options: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    unguarded = {"guard_filter_fn": lambda entries: ["said" not in entry.name for entry in entries]}
    compiled = torch.compile(WanModel(value), backend=backend, options=unguarded)
    patcher = enhanced(ModelPatcher(BaseModel(diffusion_model=compiled)))
    for step in (1, 0, 1, 0):
        [got] = run(patcher, said=dict(options(step)))  # Dynamo knows what a dict does
        wanted = value if step else filtered(value, 0, 4, 6)
        assert torch.allclose(got.double(), wanted.double(), atol=1e-5), step
    assert len(graphs) == 1
