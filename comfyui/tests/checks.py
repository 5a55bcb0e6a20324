"""What is held against a real ComfyUI with AnimateDiff-Evolved; each check says in a line what it saw."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from harness import AnimateDiff

import bytheway.comfyui.animatediff as room
from bytheway import ByTheWayConfig, method
from bytheway.comfyui.animatediff import MotionEnhancement
from bytheway.comfyui.recorder import Recorder
from bytheway.comfyui.wrapper import install

CONFIG = ByTheWayConfig(active_steps=0.4)


class Compared:
    """Holds every attention of the method against `bytheway.method` on the same query, key, value and anchor."""

    def __init__(self) -> None:
        self.largest, self.magnitude, self.guided, self.calls, self.rows = 0.0, 0.0, 0, 0, Counter[int]()

    def __enter__(self) -> Compared:
        self._own = room.attend
        room.attend = self._attend  # type: ignore[assignment]
        return self

    def __exit__(self, *error: Any) -> None:
        room.attend = self._own

    def _attend(self, query: Any, key: Any, value: Any, layout: Any, config: Any, **said: Any) -> Any:
        made = self._own(query, key, value, layout, config, **said)
        attn = (query.double() @ key.double().transpose(-1, -2) * said["scale"]).softmax(-1)
        videos = layout.unfold(attn).flatten(0, 1)
        size, anchor = layout.height_width, said["anchor"]
        guide = videos
        if anchor is not None and config.alpha > 0:
            maps = anchor.layout.unfold(anchor.attn.double()).flatten(0, 1)
            heads = query.shape[1]
            guide = method.resample_map(maps, anchor.layout.height_width, size, heads, config.head_rule)
            self.guided += 1
        governing = torch.full((layout.parts,), layout.conditional)
        wanted = method.bytheway_map(
            videos, guide, config.alpha, config.beta, config.tau, config.beta_rule, governing
        ).flatten(0, 1)
        expected = wanted @ value.double()
        self.largest = max(self.largest, float((made.output - expected).abs().max()))
        self.magnitude = max(self.magnitude, float(expected.abs().max()))
        self.calls += 1
        self.rows[len(query)] += 1
        return made

    def __str__(self) -> str:
        return (
            f"{self.calls} attentions ({self.guided} guided) within {self.largest:.1e} of `bytheway_map` "
            f"(largest value {self.magnitude:.2f})"
        )


def compared(kit: AnimateDiff, model: Any, config: ByTheWayConfig = CONFIG, **settings: Any) -> tuple[Any, str]:
    """Latents with the method, every attention of them held against `bytheway.method`, and what was seen."""
    vanilla = kit.sample(model, **settings)
    with Compared() as seen:
        enhanced = kit.sample(install(model, MotionEnhancement(config)), **settings)
    assert seen.guided, "nothing was guided"
    assert seen.largest < 1e-5, seen
    assert torch.isfinite(enhanced).all()
    assert not torch.equal(vanilla, enhanced)
    assert torch.equal(vanilla, kit.sample(model, **settings)), "vanilla differs afterwards"
    return enhanced, f"{seen}; vanilla bit-equal before and after"


def left_behind(model: Any) -> list[str]:
    """What of ours is still in the modules of a model, and in those of its motion models."""
    modules = [*model.model.named_modules()]
    for patchers in model.additional_models.values():
        modules += [pair for patcher in patchers for pair in patcher.model.named_modules()]
    attended = [path for path, one in modules if "bytheway" in repr(getattr(one, "actual_attention", ""))]
    hooked = [path for path, one in modules if any("bytheway" in repr(h) for h in one._forward_pre_hooks.values())]
    return attended + hooked


def check_plain(ade: Any) -> str:
    kit = AnimateDiff(ade)
    model = kit.evolved()
    enhanced, said = compared(kit, model)
    before = kit.evolved(model=install(kit.image_model, MotionEnhancement(CONFIG)))
    assert torch.equal(enhanced, kit.sample(before))
    off = install(model, MotionEnhancement(ByTheWayConfig(alpha=0, beta=1)))
    assert torch.equal(kit.sample(model), kit.sample(off))
    return f"{said}; node before or after Use Evolved Sampling bit-equal; everything off bit-equal to vanilla"


def check_versions(ade: Any) -> str:
    kit = AnimateDiff(ade)
    said = []
    for version in ("v1", "v2"):
        model = kit.evolved(m_models=kit.apply(version=version))
        said.append(f"{version}: {compared(kit, model)[1]}")
    return "; ".join(said)


def check_sdxl(ade: Any) -> str:
    kit, recorder = AnimateDiff(ade, levels=3), Recorder()
    said = compared(kit, kit.evolved())[1]
    kit.sample(install(kit.evolved(), MotionEnhancement(CONFIG, recorder)))
    blocks = list(dict.fromkeys(row.block for row in recorder.record.rows()))
    assert blocks == ["up_blocks.0", "up_blocks.1", "up_blocks.2"], blocks
    return f"{said}; anchor {blocks[0]}, guided {', '.join(blocks[1:])}"


def check_windows(ade: Any) -> str:
    kit, recorder = AnimateDiff(ade), Recorder()
    options = kit.node("ADE_StandardStaticContextOptions", context_length=8, context_overlap=4)
    model = kit.evolved(context_options=options)
    said = compared(kit, model, frames=12)[1]
    kit.sample(install(model, MotionEnhancement(CONFIG, recorder)), frames=12)
    windows = {row.window for row in recorder.record.rows()}
    assert windows == {0, 1}, windows
    return f"12 frames in {len(windows)} windows of 8: {said}"


def check_views(ade: Any) -> str:
    kit = AnimateDiff(ade)
    views = kit.node("ADE_StandardStaticViewOptions", view_length=8, view_overlap=4)
    options = kit.node("ADE_ViewsOnlyContextOptions", view_opts_req=views)
    return f"12 frames in views of 8: {compared(kit, kit.evolved(context_options=options), frames=12)[1]}"


def check_free_init(ade: Any) -> str:
    kit, recorder = AnimateDiff(ade), Recorder()
    free_init = kit.node(
        "ADE_IterationOptsFreeInit", iterations=2, filter="gaussian", d_s=0.25, d_t=0.25, n_butterworth=4,
        sigma_step=999, apply_to_1st_iter=False, init_type="FreeInit [sampler sigma]",
    )  # fmt: skip
    settings = kit.node(
        "ADE_AnimateDiffSamplingSettings", batch_offset=0, noise_type="default", seed_gen="comfy", seed_offset=0,
        iteration_opts=free_init,
    )  # fmt: skip
    model = kit.evolved(sample_settings=settings)
    said = compared(kit, model)[1]
    kit.sample(install(model, MotionEnhancement(CONFIG, recorder)))
    steps = Counter((row.run, row.step) for row in recorder.record.rows())
    assert sorted(steps) == [(0, 0), (0, 1), (1, 0), (1, 1)], steps
    return f"2 iterations with 2 active steps each: {said}"


def check_guidance(ade: Any) -> str:
    kit = AnimateDiff(ade)
    model = kit.evolved()
    said = compared(kit, model, cfg=1.0)[1]
    own = kit.image_model.model.memory_required
    try:
        kit.image_model.model.memory_required = lambda *shape, **more: 1e20
        apart = compared(kit, model)[1]
    finally:
        kit.image_model.model.memory_required = own
    return f"cfg 1: {said}; both halves apart where memory is short: {apart}"


def check_second_order(ade: Any) -> str:
    kit, recorder = AnimateDiff(ade), Recorder()
    model = kit.evolved()
    said = compared(kit, model, sampler="dpm_2")[1]
    kit.sample(install(model, MotionEnhancement(CONFIG, recorder)), sampler="dpm_2")
    rows = [row for row in recorder.record.rows() if (row.block, row.module, row.attention) == ("up_blocks.1", 0, 0)]
    steps = [row.step for row in rows]
    assert steps == [0, 0, 1, 1], steps
    return f"dpm_2, recorded in the steps {steps}: {said}"


def check_clones(ade: Any) -> str:
    kit = AnimateDiff(ade)
    model = kit.evolved()
    mild, strong = (install(model, MotionEnhancement(CONFIG.replace(beta=beta))) for beta in (1.2, 3.0))
    alone = [kit.sample(mild), kit.sample(strong)]
    assert torch.equal(alone[0], kit.sample(mild))
    assert torch.equal(alone[1], kit.sample(strong))
    assert not torch.equal(*alone)
    again = install(mild, MotionEnhancement(CONFIG.replace(beta=3.0)))
    assert torch.equal(alone[1], kit.sample(again)), "the second node on a model takes the place of the first"
    return "two clones with beta 1.2 and 3 in turn, each bit-equal to itself alone; a second node replaces the first"


def check_interruption(ade: Any) -> str:
    import comfy.model_management as management

    kit = AnimateDiff(ade)
    model = kit.evolved()
    vanilla, enhanced = kit.sample(model), install(model, MotionEnhancement(CONFIG.replace(active_steps=1.0)))
    whole = kit.sample(enhanced)
    attention = room.Forward.enhance

    def broken(self: Any, site: Any, *args: Any) -> Any:
        if site.block == "up_blocks.3":
            raise RuntimeError("in the middle of a forward")
        return attention(self, site, *args)

    def interrupt(step: int, *args: Any) -> None:
        if step == 1:
            management.interrupt_current_processing()
            management.throw_exception_if_processing_interrupted()

    for error, callback, method_ in (
        (management.InterruptProcessingException, interrupt, attention),
        (RuntimeError, None, broken),
    ):
        room.Forward.enhance = method_  # type: ignore[method-assign]
        try:
            kit.sample(enhanced, callback=callback)
        except error:
            pass
        else:
            raise AssertionError(f"{error.__name__} was not raised")
        finally:
            room.Forward.enhance = attention  # type: ignore[method-assign]
        assert left_behind(enhanced) == []
        assert torch.equal(vanilla, kit.sample(model))
        assert torch.equal(whole, kit.sample(enhanced))
    return "interrupted between steps and broken in the middle of a forward: nothing left behind, vanilla bit-equal"


def check_several_models(ade: Any) -> str:
    kit = AnimateDiff(ade)
    one = kit.apply(seed=1)
    model = kit.evolved(m_models=kit.apply(seed=5, prev_m_models=one))
    said = compared(kit, model)[1]
    return f"two motion models, each guided by its own anchor: {said}"


def check_strengths(ade: Any) -> str:
    kit, said = AnimateDiff(ade), []
    half = kit.node("ADE_MultivalDynamic", float_val=0.5)
    gradient = kit.node("ADE_MultivalDynamic", float_val=1.2, mask_optional=torch.linspace(0.2, 1, 64).view(1, 8, 8))
    keyframe = kit.node("ADE_AnimateDiffKeyframe", start_percent=0.3, scale_multival=half, effect_multival=gradient)
    for name, inputs in (
        ("scale as a mask", {"scale_multival": gradient}),
        ("effect as a mask", {"effect_multival": gradient}),
        ("keyframe of both", {"ad_keyframes": keyframe}),
    ):
        said.append(f"{name}: {compared(kit, kit.evolved(m_models=kit.apply(**inputs)))[1]}")
    nothing = kit.node("ADE_MultivalDynamic", float_val=0.0)
    gone = kit.evolved(m_models=kit.apply(effect_multival=nothing))
    assert torch.equal(kit.sample(gone), kit.sample(install(gone, MotionEnhancement(CONFIG))))
    block = kit.node("ADE_ADBlockCombo", effect=nothing)
    per_block = kit.node("ADE_PerBlock_SD15_MidLevel", up_1=block)
    # AnimateDiff-Evolved 1.5.7 forgets per-block settings where a model is cloned after Use Evolved Sampling.
    motion = kit.apply(per_block=per_block)
    without_anchor = kit.evolved(install(kit.image_model, MotionEnhancement(CONFIG)), motion)
    try:
        kit.sample(without_anchor)
    except room.ByTheWayError as error:
        said.append(f"anchor block without effect is said: '{str(error)[:60]}...'")
    else:
        raise AssertionError("an anchor block without effect went unsaid")
    unguided = install(kit.image_model, MotionEnhancement(CONFIG.replace(alpha=0.0)))
    assert torch.isfinite(kit.sample(kit.evolved(unguided, motion))).all()
    return "; ".join(said)


def check_low_vram(ade: Any) -> str:
    kit = AnimateDiff(ade)
    model = kit.evolved()
    plain = kit.sample(install(model, MotionEnhancement(CONFIG)))
    casting = [m for m in _all_modules(model) if hasattr(m, "comfy_cast_weights")]
    try:
        for module in casting:
            module.comfy_cast_weights = True
        cast, said = compared(kit, model)
    finally:
        for module in casting:
            module.comfy_cast_weights = False
    assert torch.allclose(plain, cast, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))
    return f"weights of {len(casting)} layers cast at each call, as with --lowvram: {said}"


def _all_modules(model: Any) -> list[Any]:
    patchers = [model, *(one for some in model.additional_models.values() for one in some)]
    return [module for patcher in patchers for module in patcher.model.modules()]


CHECKS = {
    "AnimateDiff v3": check_plain,
    "v1 and v2": check_versions,
    "SDXL": check_sdxl,
    "context windows": check_windows,
    "view options": check_views,
    "FreeInit": check_free_init,
    "cfg 1, halves apart": check_guidance,
    "second-order sampler": check_second_order,
    "clones": check_clones,
    "interruption": check_interruption,
    "several motion models": check_several_models,
    "strengths": check_strengths,
    "low VRAM": check_low_vram,
}
