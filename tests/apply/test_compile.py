"""torch.compile, of the denoiser in place or around it, before and after the method is applied.

The backend "eager" traces and guards like any other; what kernels a compiler then makes is its own affair.
"""

import re
from copy import deepcopy

import pytest
import torch
from diffusers.hooks import HookRegistry, ModelHook
from torch._dynamo.testing import CompileCounter

from bytheway import ByTheWayConfig, apply_bytheway, enhanced, observe, remove_bytheway
from bytheway.apply.forward import Forward
from bytheway.families.known import denoiser_of
from bytheway.families.sites import find_sites
from tests.toys.tiny import generate, make_pipeline

HALF = ByTheWayConfig(active_steps=0.5)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def small_pipeline():
    return make_pipeline(channels=(32, 32), cross_attention=False)


def run(pipe):
    return generate(pipe, num_frames=4, height=8, width=8)


@pytest.fixture(scope="module")
def expected():
    """Vanilla and enhanced, without a compiler."""
    pipe = small_pipeline()
    with enhanced(pipe, HALF, record=False):
        video = run(pipe)
    return run(pipe), video


def compile_in_place(pipe, backend):
    pipe.unet.compile(backend=backend)


def compile_around(pipe, backend):
    pipe.unet = torch.compile(pipe.unet, backend=backend)


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compile_denoiser", [compile_in_place, compile_around])
def test_compiled_before(compile_denoiser, expected):
    """Graphs made before the hooks came do not serve after, nor the other way round; each is used again."""
    vanilla, video = expected
    pipe, counter = small_pipeline(), CompileCounter()
    compile_denoiser(pipe, counter)
    close(run(pipe), vanilla)
    assert counter.frame_count > 0
    apply_bytheway(pipe, HALF)
    close(run(pipe), video)
    graphs = counter.frame_count
    close(run(pipe), video)
    assert counter.frame_count == graphs
    remove_bytheway(pipe)
    close(run(pipe), vanilla)


@pytest.mark.parametrize("compile_denoiser", [compile_in_place, compile_around])
def test_each_run_in_a_block_of_its_own(compile_denoiser, expected):
    """A graph holds for the hooks that it was traced with, and there may be eight; vanilla runs come between."""
    vanilla, video = expected
    pipe, counter = small_pipeline(), CompileCounter()
    compile_denoiser(pipe, counter)
    for _ in range(3):
        close(run(pipe), vanilla)
        with enhanced(pipe, HALF, record=False):
            close(run(pipe), video)
        assert not any(hasattr(module, "_diffusers_hook") for module in denoiser_of(pipe).modules())
    assert counter.frame_count == 3


def test_regions_are_not_compiled_again(expected):
    _, video = expected
    pipe, counter = small_pipeline(), CompileCounter()
    pipe.unet.up_blocks[-1].motion_modules[0].compile(backend=counter)
    graphs = []
    for _ in range(3):
        with enhanced(pipe, HALF, record=False):
            close(run(pipe), video)
        graphs.append(counter.frame_count)
    assert graphs[0] == graphs[-1] > 0


def test_hooks_of_a_compiled_denoiser_are_not_copied(expected):
    """They would run the modules of the original."""
    _, video = expected
    pipe = small_pipeline()
    compile_in_place(pipe, CompileCounter())
    with enhanced(pipe, HALF, record=False):
        run(pipe)
    pipe.unet = deepcopy(original := pipe.unet)
    for parameter in original.parameters():
        parameter.data.zero_()
    with enhanced(pipe, HALF, record=False):
        close(run(pipe), video)


def test_another_hook_came_between(expected):
    """It is kept, and runs inside of ours."""
    _, video = expected
    pipe, calls = small_pipeline(), []
    compile_in_place(pipe, CompileCounter())
    with enhanced(pipe, HALF, record=False):
        run(pipe)
    site = find_sites(denoiser_of(pipe), HALF)[0].module

    class Counting(ModelHook):
        @torch.compiler.disable
        def pre_forward(self, module, *args, **kwargs):
            calls.append(module)
            return args, kwargs

    HookRegistry.check_if_exists_or_initialize(site).register_hook(Counting(), "counting")
    with enhanced(pipe, HALF, record=False):
        close(run(pipe), video)
    assert calls
    run(pipe)
    assert list(site._diffusers_hook.hooks) == ["counting"]


def test_nothing_breaks_the_graph(expected):
    """Two graphs, one of the active steps and one of the others, each of the whole denoiser."""
    _, video = expected
    pipe, counter = small_pipeline(), CompileCounter()
    pipe.unet.compile(backend=counter, fullgraph=True)
    apply_bytheway(pipe, HALF)
    close(run(pipe), video)
    close(run(pipe), video)
    assert counter.frame_count == 2


def test_regions_are_not_tied_to_their_sites(expected, monkeypatch):
    """A traced site is in the guards of its graph; regions of many blocks would need more graphs than there may be."""
    _, video = expected
    attend, seen = Forward.attend, []

    def spy(*args, **kwargs):
        seen.append(torch.compiler.is_compiling())
        return attend(*args, **kwargs)

    monkeypatch.setattr(Forward, "attend", spy)
    pipe, counter = small_pipeline(), CompileCounter()
    apply_bytheway(pipe, HALF)
    for name, module in pipe.unet.named_modules():
        if re.search(r"up_blocks\.\d+\.motion_modules\.\d+$", name):
            module.compile(backend=counter)
    close(run(pipe), video)
    assert counter.frame_count > 0
    assert seen
    assert not any(seen)


def test_compiled_after(expected):
    vanilla, video = expected
    pipe, counter = small_pipeline(), CompileCounter()
    apply_bytheway(pipe, HALF)
    compile_around(pipe, counter)
    close(run(pipe), video)
    assert counter.frame_count > 0
    with observe(pipe) as observed:
        close(run(pipe), vanilla)
    assert len(observed.record) == 2 * len(find_sites(denoiser_of(pipe), HALF))
    close(run(pipe), video)
    remove_bytheway(pipe)
    close(run(pipe), vanilla)
