"""The method on fakes of AnimateDiff-Evolved: its numbers are those of `bytheway.method`, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from bytheway import ByTheWayConfig, method
from bytheway.attention.layout import Layout
from bytheway.errors import ByTheWayError
from tests.comfyui import fakes
from tests.comfyui.fakes import ModelPatcher, animated, options, own_attention

FRAMES = 6
CONFIG = ByTheWayConfig(tau=2, active_steps=0.4)
LATENTS = torch.randn(2 * FRAMES, 8, 2, 3, generator=torch.Generator().manual_seed(0))


def with_method(model: ModelPatcher, config: ByTheWayConfig = CONFIG, recorder: Any = None) -> Any:
    from bytheway.comfyui.animatediff import MotionEnhancement
    from bytheway.comfyui.wrapper import install

    return install(model, MotionEnhancement(config, recorder))


def forward(model: Any, latents: Tensor = LATENTS, **said: Any) -> Tensor:
    with torch.no_grad():
        made: Tensor = model.apply(latents, None, options(**said))
    return made


def modules_of(model: Any) -> list[Any]:
    return list(model.model.diffusion_model.motion())


def attentions_of(model: Any) -> list[Any]:
    return [one for one in model.model.diffusion_model.modules() if type(one).__name__ == "VersatileAttention"]


@contextmanager
def watched(see: Callable[..., None]) -> Iterator[None]:
    """Hands every attention of the method to `see`: site, number of the call, output, then what it was called with."""
    from bytheway.comfyui.animatediff import Forward

    own = Forward.enhance

    def enhance(self: Any, site: Any, original: Any, *args: Any) -> Tensor:
        call = self._calls[site.path]
        output = own(self, site, original, *args)
        see(site, call, output, *args)
        return output

    Forward.enhance = enhance  # type: ignore[method-assign]
    try:
        yield
    finally:
        Forward.enhance = own  # type: ignore[method-assign]


class Definition:
    """What `bytheway.method` makes of the same query, key, value and anchor, in float64."""

    def __init__(self, config: ByTheWayConfig, parts: int, conditional: int, anchor: str = "up_blocks.1") -> None:
        self.config, self.parts, self.conditional, self.anchor = config, parts, conditional, anchor
        self.maps: dict[Any, tuple[Tensor, tuple[int, int]]] = {}
        self.roles: list[str] = []
        self.largest = 0.0

    def __call__(self, site: Any, call: int, output: Tensor, *given: Any) -> None:
        heads = given[3]
        query, key, value = (one.double().unflatten(-1, (heads, -1)).transpose(1, 2) for one in given[:3])
        block = int(site.block[-1])
        size = (2 * 2**block, 3 * 2**block)
        attn = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        maps = Layout(self.parts, self.conditional, size).unfold(attn).flatten(0, 1)
        guide = maps
        if site.block == self.anchor:
            self.maps[site.index, call] = maps, size
        elif self.config.alpha > 0:
            made, made_at = self.maps[site.index, call]
            guide = method.resample_map(made, made_at, size, heads)
        self.roles.append(site.role)
        config, governing = self.config, torch.full((self.parts,), self.conditional)
        wanted = method.bytheway_map(
            maps, guide, config.alpha, config.beta, config.tau, config.beta_rule, governing
        ).flatten(0, 1)
        expected = (wanted @ value).transpose(1, 2).flatten(2)
        self.largest = max(self.largest, float((output - expected).abs().max()))


@pytest.mark.parametrize("rule", ["sqrt", "ratio"])
@pytest.mark.parametrize(("parts", "conditional"), [((1, 0), 1), ((0, 1), 0), ((0,), 0), ((1,), 0), ((1, 0, 0), 2)])
def test_numbers_are_those_of_the_definition(parts: tuple[int, ...], conditional: int, rule: Any) -> None:
    config = CONFIG.replace(beta_rule=rule)
    definition = Definition(config, len(parts), conditional)
    latents = LATENTS[:FRAMES].repeat(len(parts), 1, 1, 1) + torch.arange(len(parts) * FRAMES)[:, None, None, None] / 50
    with watched(definition):
        enhanced = forward(with_method(animated(), config), latents, parts=parts)
    assert definition.roles == ["anchor"] * 4 + ["guided"] * 8
    assert definition.largest < 1e-5
    assert not torch.allclose(enhanced, forward(animated(), latents, parts=parts), atol=1e-3)


def test_sdxl_has_its_anchor_at_the_same_resolution() -> None:
    definition = Definition(CONFIG, 2, 1, anchor="up_blocks.0")
    with watched(definition):
        forward(with_method(animated(levels=3)))
    assert definition.roles == ["anchor"] * 4 + ["guided"] * 8
    assert definition.largest < 1e-5


def test_each_motion_model_is_guided_by_its_own_anchor() -> None:
    definitions: dict[int, Definition] = {}
    model = animated(models=2)

    def see(site: Any, *said: Any) -> None:
        number = int(site.path.split(".")[1])  # the place behind the image layer
        definitions.setdefault(number, Definition(CONFIG, 2, 1))(site, *said)

    with watched(see):
        forward(with_method(model))
    assert sorted(definitions) == [1, 2]
    for definition in definitions.values():
        assert definition.roles == ["anchor"] * 4 + ["guided"] * 8
        assert definition.largest < 1e-5


def test_views_meet_the_same_view_of_the_anchor() -> None:
    model = animated()
    for module in modules_of(model):
        module.view = FRAMES // 2
    definition = Definition(CONFIG, 2, 1)
    with watched(definition):
        forward(with_method(model))
    assert len(definition.roles) == 24  # each of 12 attentions twice
    assert definition.largest < 1e-5


def test_acts_in_the_first_steps_alone() -> None:
    plain, model = animated(), with_method(animated())
    changed = [not torch.equal(forward(plain, step=step), forward(model, step=step)) for step in range(5)]
    assert changed == [True, True, False, False, False]


def test_off_is_vanilla() -> None:
    off = with_method(animated(), CONFIG.replace(alpha=0.0, beta=1.0))
    assert torch.equal(forward(off), forward(animated()))


def test_clones_are_independent_and_a_second_node_replaces_the_first() -> None:
    model = animated()
    vanilla = forward(model)
    mild, strong = with_method(model, CONFIG.replace(beta=1.1)), with_method(model, CONFIG.replace(beta=4.0))
    both = forward(mild), forward(strong)
    assert torch.equal(vanilla, forward(model))
    assert torch.equal(both[0], forward(mild))
    assert torch.equal(both[1], forward(strong))
    assert not torch.equal(*both)
    assert torch.equal(both[1], forward(with_method(mild, CONFIG.replace(beta=4.0))))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_broken_run_leaves_nothing_behind(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    model = animated()
    vanilla, enhanced = forward(model), with_method(model)
    from bytheway.comfyui import animatediff

    calls = []

    def attend(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 9:
            raise error
        return own(*args, **kwargs)

    own = animatediff.attend
    monkeypatch.setattr(animatediff, "attend", attend)
    with pytest.raises(error):
        forward(enhanced)
    assert len(calls) == 9
    assert all(one.actual_attention is own_attention for one in attentions_of(model))
    assert not any(one._forward_pre_hooks for one in model.model.diffusion_model.modules())
    assert torch.equal(vanilla, forward(model))


def test_the_attention_that_was_there_comes_back() -> None:
    """AnimateDiff-Evolved puts another one there where the GPU refuses the first."""
    model = animated()

    def fallback(*args: Any) -> Tensor:
        return own_attention(*args)

    attentions_of(model)[5].actual_attention = fallback
    forward(with_method(model))
    assert attentions_of(model)[5].actual_attention is fallback


def test_a_mask_leaves_the_attention_to_the_model() -> None:
    model = animated()
    last = attentions_of(model)[-1]
    last.mask = torch.zeros(FRAMES, FRAMES)
    seen: list[str] = []
    with watched(lambda site, call, output, *args: seen.append("mask" if args[4] is not None else "map")):
        forward(with_method(model))
    assert seen == ["map"] * 11 + ["mask"]


def test_an_anchor_block_without_effect_is_said() -> None:
    model = animated()
    for module in modules_of(model):
        module.effect = 0.0 if module.block_idx == 1 else 1.0
    with pytest.raises(ByTheWayError, match=r"up_blocks\.2 should be guided.*self_guidance to 0"):
        forward(with_method(model))
    assert torch.isfinite(forward(with_method(model, CONFIG.replace(alpha=0.0)))).all()
    for module in modules_of(model):
        module.effect = 0.0
    assert torch.equal(forward(with_method(model)), forward(model))


def test_a_model_without_motion_is_said() -> None:
    for denoiser in (animated(models=0).model.diffusion_model, torch.nn.Identity()):  # a video model has no such blocks
        with pytest.raises(ByTheWayError, match=r"no motion modules.*use ByTheWay \(video models\)"):
            forward(with_method(ModelPatcher(fakes.BaseModel(diffusion_model=denoiser))))


class TestRecord:
    def recorded(self, runs: list[dict[str, Any]]) -> Any:
        from bytheway.comfyui.recorder import Recorder

        recorder = Recorder()
        model = with_method(animated(), recorder=recorder)
        for said in runs:
            forward(model, **said)
        return recorder

    def test_energies_are_those_of_the_maps(self) -> None:
        energies: list[float] = []

        def see(site: Any, call: int, output: Tensor, q: Tensor, k: Tensor, v: Tensor, heads: int, *_: Any) -> None:
            query, key = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (q, k))
            attn = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
            energies.append(float(method.attention_energy(attn.unflatten(0, (2, -1)))[1]))

        with watched(see):
            rows = self.recorded([{}]).record.rows()
        assert [row.energy for row in rows] == pytest.approx(energies, abs=1e-5)
        assert {row.block: row.disparity is None for row in rows} == {
            "up_blocks.1": True,
            "up_blocks.2": False,
            "up_blocks.3": False,
        }

    def test_free_init_is_several_runs_of_one_record(self) -> None:
        sampling = fakes.AnimateDiffGlobalState()
        steps = [0, 1, 2, 3, 4]
        rows = self.recorded([{"step": step, "ADGS": sampling} for step in steps * 2]).record.rows()
        assert list(dict.fromkeys((row.run, row.step) for row in rows)) == [(0, 0), (0, 1), (1, 0), (1, 1)]

    def test_the_next_sampling_starts_anew_and_keeps_nothing_alive(self) -> None:
        first, second = fakes.AnimateDiffGlobalState(), fakes.AnimateDiffGlobalState()
        recorder = self.recorded([{"ADGS": first}, {"step": 1, "ADGS": first}, {"step": 4, "ADGS": second}])
        assert len(recorder.record) == 0
        import gc
        import weakref

        gone = weakref.ref(second)
        del first, second
        gc.collect()
        assert gone() is None

    def test_windows_are_told_apart_by_their_frames(self) -> None:
        sampling = fakes.AnimateDiffGlobalState()
        windows = [[0, 1, 2, 3], [2, 3, 4, 5]]
        told = [{"ADGS": sampling, "ad_params": {"sub_idxs": window}} for window in windows]
        rows = self.recorded([one | {"step": step} for step in (0, 1) for one in told]).record.rows()
        assert list(dict.fromkeys((row.step, row.window) for row in rows)) == [(0, 0), (0, 1), (1, 0), (1, 1)]

    def test_an_unconditional_half_alone_is_left_out(self) -> None:
        sampling = fakes.AnimateDiffGlobalState()
        assert len(self.recorded([{"parts": (1,), "ADGS": sampling}]).record) == 0
