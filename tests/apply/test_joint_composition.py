"""Motion enhancement of joint attention beside what else is done to a model: fusing, backends, LoRA, compiling."""

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from peft import LoraConfig

from bytheway import apply_bytheway, enhanced, remove_bytheway
from bytheway.apply import joint as joint_hooks
from bytheway.apply.joint import JointInstallation
from bytheway.families.tokens import self_attentions
from tests.apply.joint_checks import ALWAYS, Watch, generate, tiny, traces
from tests.toys.joint import FACTORIES


@pytest.mark.parametrize("name", ["cogvideox", "wan", "wan_image2video", "hunyuanvideo", "ltx"])
@pytest.mark.parametrize("fused_first", [False, True])
def test_fused_projections(name, fused_first):
    _, call, vanilla = tiny(name)
    pipe, _ = FACTORIES[name]()
    with enhanced(tiny(name)[0], ALWAYS):
        expected = generate(tiny(name)[0], call)
    if fused_first:
        pipe.transformer.fuse_qkv_projections()
    apply_bytheway(pipe, ALWAYS)
    torch.testing.assert_close(generate(pipe, call), expected, rtol=1e-4, atol=1e-5)
    pipe.transformer.fuse_qkv_projections()
    torch.testing.assert_close(generate(pipe, call), expected, rtol=1e-4, atol=1e-5)
    pipe.transformer.unfuse_qkv_projections()
    torch.testing.assert_close(generate(pipe, call), expected, rtol=1e-4, atol=1e-5)
    remove_bytheway(pipe)
    torch.testing.assert_close(generate(pipe, call), vanilla, rtol=1e-4, atol=1e-5)


def test_the_processor_of_fused_projections_uses_them():
    """Else the test above would say nothing of `to_qkv`."""
    for name in ("cogvideox", "wan"):
        pipe, call = FACTORIES[name]()
        pipe.transformer.fuse_qkv_projections()
        with Watch(pipe.transformer) as watch:
            generate(pipe, call)
        assert any(path.endswith("to_qkv") for path, _ in watch.seen)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *((name, backend) for name in ("wan", "hunyuanvideo", "ltx") for backend in ("native", "_native_math")),
        # These do not know the masks of the others' texts.
        ("wan", "_native_flash"),
        ("wan", "flex"),
    ],
)
def test_every_attention_backend(name, backend, monkeypatch):
    pipe, call, _ = tiny(name)
    # Choosing one for a model makes it everybody's.
    monkeypatch.setattr(_AttentionBackendRegistry, "_active_backend", _AttentionBackendRegistry._active_backend)
    with enhanced(pipe, ALWAYS):
        expected = generate(pipe, call)
        pipe.transformer.set_attention_backend(backend)
        try:
            video = generate(pipe, call)
        finally:
            pipe.transformer.reset_attention_backend()
    torch.testing.assert_close(video, expected, rtol=1e-3, atol=1e-4)


def test_lora_in_the_projections():
    """Put in after the method was applied: the projection that carries the hook is now inside another."""
    pipe, call = FACTORIES["wan"]()
    apply_bytheway(pipe, ALWAYS)
    generate(pipe, call)
    pipe.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_v"], init_lora_weights=False))
    with_lora = generate(pipe, call)
    remove_bytheway(pipe)
    vanilla = generate(pipe, call)
    assert (with_lora - vanilla).abs().max() > 1e-2
    pipe.transformer.fuse_lora()
    with enhanced(pipe, ALWAYS):
        torch.testing.assert_close(generate(pipe, call), with_lora, rtol=1e-3, atol=1e-4)


def test_hooks_of_accelerate_outlive_it():
    """Sequential offloading puts its hooks on the very same projections."""
    pipe, call = FACTORIES["wan"]()
    projections = [block.attn1.to_v for block in pipe.transformer.blocks]
    add_hook_to_module(projections[0], AlignDevicesHook("cpu"))
    vanilla = generate(pipe, call)
    apply_bytheway(pipe, ALWAYS)
    video = generate(pipe, call)
    add_hook_to_module(projections[1], AlignDevicesHook("cpu"))
    forwards = [vars(projection)["forward"] for projection in projections]
    assert torch.equal(generate(pipe, call), video)
    remove_bytheway(pipe)
    assert torch.equal(generate(pipe, call), vanilla)
    assert vars(projections[1])["forward"] is forwards[1]
    assert all(hasattr(projection, "_hf_hook") and "forward" in vars(projection) for projection in projections)


def test_hooks_of_accelerate_that_go_take_nothing_along():
    """Taking off what came before the method puts the projection's own forward back."""
    pipe, call = FACTORIES["wan"]()
    vanilla = generate(pipe, call)
    before = traces(pipe)
    projections = [block.attn1.to_v for block in pipe.transformer.blocks]
    for projection in projections:
        add_hook_to_module(projection, AlignDevicesHook("cpu"))
    apply_bytheway(pipe, ALWAYS)
    video = generate(pipe, call)
    assert not torch.equal(video, vanilla)
    remove_hook_from_module(projections[0])
    assert torch.equal(generate(pipe, call), video)
    remove_hook_from_module(projections[1])
    remove_bytheway(pipe)
    assert torch.equal(generate(pipe, call), vanilla)
    assert traces(pipe) == before


def test_regional_compilation_has_no_graph_breaks():
    """Graphs made before the method was applied do not serve after, nor the other way round."""
    _, call, vanilla = tiny("wan")
    with enhanced(tiny("wan")[0], ALWAYS, active_steps=0.5):
        expected = generate(tiny("wan")[0], call)
    torch._dynamo.reset()
    pipe, _ = FACTORIES["wan"]()
    pipe.transformer.compile_repeated_blocks(fullgraph=True, backend="eager")
    torch.testing.assert_close(generate(pipe, call), vanilla, rtol=1e-4, atol=1e-5)
    apply_bytheway(pipe, ALWAYS.replace(active_steps=0.5))
    torch.testing.assert_close(generate(pipe, call), expected, rtol=1e-4, atol=1e-5)
    remove_bytheway(pipe)
    torch.testing.assert_close(generate(pipe, call), vanilla, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


def test_rebuilt_blocks_are_fitted_once(monkeypatch):
    """Also where somebody keeps the run of a block that has ended, which was fitted to the blocks before."""
    pipe, call = FACTORIES["wan"]()
    apply_bytheway(pipe, ALWAYS)
    with enhanced(pipe, ALWAYS) as kept:
        generate(pipe, call)
    assert kept.steps.run == 0
    pipe.transformer.blocks[0].attn1 = FACTORIES["wan"]()[0].transformer.blocks[0].attn1
    fit, fits = JointInstallation.fit, []
    monkeypatch.setattr(JointInstallation, "fit", lambda self, applied: (fits.append(applied), fit(self, applied))[1])
    generate(pipe, call)
    assert len(fits) == 1


def test_the_denoiser_is_searched_once(monkeypatch):
    """And again where blocks are exchanged."""
    pipe, call = FACTORIES["wan"]()
    searches = []
    monkeypatch.setattr(joint_hooks, "self_attentions", lambda *args: searches.append(args) or self_attentions(*args))
    apply_bytheway(pipe, ALWAYS)
    expected = generate(pipe, call)
    assert len(searches) == 1
    pipe.transformer.blocks[0] = FACTORIES["wan"]()[0].transformer.blocks[0]
    assert torch.equal(generate(pipe, call), expected)
    assert len(searches) == 2
