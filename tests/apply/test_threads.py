"""Pipelines that run at once, each in a thread of its own, around one denoiser."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, BrokenBarrierError, Event

import pytest
import torch
from diffusers import AnimateDiffPipeline, DDIMScheduler, FlowMatchEulerDiscreteScheduler, WanPipeline

from bytheway import ByTheWayConfig, apply_bytheway, enhanced, remove_bytheway
from bytheway.apply.installation import Installation
from tests.apply.joint_checks import generate as generate_joint
from tests.toys import joint
from tests.toys.tiny import generate, make_pipeline, make_tokenizer

HALF = ByTheWayConfig(active_steps=0.5)
JOINT = ByTheWayConfig(alpha=0, beta=2.5, tau=1, active_steps=0.5)
STEPS = 4


@pytest.fixture(autouse=True)
def threads_take_turns_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def animatediff():
    """Two pipelines around one UNet, and how each makes its clip: another prompt, steps of another scheduler.

    Each has a tokenizer of its own: those of transformers keep how they pad from one call to the next, so that threads
    which share one get other tokens now and then, with the method and without.
    """
    pipe = make_pipeline(channels=(32, 32), cross_attention=False)
    other = AnimateDiffPipeline(**pipe.components | {"tokenizer": make_tokenizer()})
    other.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    other.set_progress_bar_config(disable=True)
    size = {"num_frames": 4, "height": 8, "width": 8, "num_inference_steps": STEPS}
    return (
        (pipe, lambda **changes: generate(pipe, "a red ball bounces", **size, **changes)),
        (other, lambda **changes: generate(other, "a blue star turns", **size, **changes)),
        HALF,
    )


def wan():
    """The same around one transformer."""
    pipe, call = joint.FACTORIES["wan"]()
    other = WanPipeline(**pipe.components)
    other.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    other.set_progress_bar_config(disable=True)
    call = call | {"num_inference_steps": STEPS}
    flipped = call | {"prompt_embeds": call["prompt_embeds"].flip(-1)}
    return (
        (pipe, lambda **changes: generate_joint(pipe, call, **changes)),
        (other, lambda **changes: generate_joint(other, flipped, **changes)),
        JOINT,
    )


def in_step(*runs):
    """The clips of runs that go at once, one step of each after the other's, whatever the threads' own pace."""
    barrier = Barrier(len(runs))

    def wait(pipe, index, timestep, tensors):
        barrier.wait(timeout=60)
        return tensors

    def make(run):
        try:
            return run(callback_on_step_end=wait)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(len(runs)) as pool:
        futures = [pool.submit(make, run) for run in runs]
        failures = [future.exception() for future in futures if future.exception() is not None]
        for failure in sorted(failures, key=lambda error: isinstance(error, BrokenBarrierError)):
            raise failure
        return [future.result() for future in futures]


@pytest.mark.parametrize("models", [animatediff, wan])
@pytest.mark.parametrize("both", [True, False], ids=["both enhanced", "one vanilla"])
def test_at_once_as_one_after_the_other(models, both):
    (pipe, run), (other, run_other), config = models()
    vanilla = run(), run_other()
    with ExitStack() as stack:
        stack.enter_context(enhanced(pipe, config, record=False))
        if both:
            stack.enter_context(enhanced(other, config, beta=4.0, record=False))
        alone = run(), run_other()
        assert not torch.equal(alone[0], vanilla[0])
        assert torch.equal(alone[1], vanilla[1]) != both
        for _ in range(2):
            at_once = in_step(run, run_other)
            assert torch.equal(at_once[0], alone[0])
            assert torch.equal(at_once[1], alone[1])
    assert torch.equal(run(), vanilla[0])
    assert torch.equal(run_other(), vanilla[1])


def test_records_are_apart():
    (pipe, run), (other, run_other), config = animatediff()
    with enhanced(pipe, config) as first, enhanced(other, config, beta=4.0) as second:
        run(), run_other()
        alone = first.record.rows(), second.record.rows()
    with enhanced(pipe, config) as first, enhanced(other, config, beta=4.0) as second:
        in_step(run, run_other)
        assert (first.record.rows(), second.record.rows()) == alone


def test_on_the_bare_denoiser():
    """One and the same settings for all who use it; each scheduler has steps of its own."""
    (pipe, run), (_, run_other), config = animatediff()
    apply_bytheway(pipe.unet, config)
    alone = run(), run_other()
    at_once = in_step(run, run_other)
    remove_bytheway(pipe.unet)
    assert torch.equal(at_once[0], alone[0])
    assert torch.equal(at_once[1], alone[1])


def test_put_on_and_taken_off_while_others_run():
    (_, run), (other, run_other), config = animatediff()
    vanilla = run()
    with enhanced(other, config, record=False):
        expected = run_other()

    def in_blocks(**_):
        for _ in range(5):
            with enhanced(other, config, record=False):
                assert torch.equal(run_other(), expected)

    def again(**_):
        for _ in range(8):
            assert torch.equal(run(), vanilla)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(in_blocks), pool.submit(again)]:
            future.result()


def test_put_on_in_the_middle_of_a_forward(monkeypatch):
    """It is the whole of the next forward's, or none of this one's: no site without the anchor that guides it."""
    (pipe, run), _, config = animatediff()
    begin, inside, hooked, given = Event(), Event(), Event(), Event()
    hook_missing = Installation._hook_missing

    def between(*args):
        begin.set()
        inside.wait(timeout=60)
        hook_missing(*args)
        hooked.set()

    def behind_the_anchor(*_):
        inside.set()
        hooked.wait(timeout=60)

    def steps():
        begin.wait(timeout=60)
        latents = []

        def note(pipe, index, timestep, tensors):
            latents.append(tensors["latents"])
            given.wait(timeout=60)
            return tensors

        run(callback_on_step_end=note)
        return latents

    monkeypatch.setattr(Installation, "_hook_missing", between)
    handle = pipe.unet.up_blocks[1].register_forward_pre_hook(behind_the_anchor)
    with ThreadPoolExecutor(1) as pool:
        meanwhile = pool.submit(steps)
        apply_bytheway(pipe, config)
        given.set()
        first, second, *_ = meanwhile.result()
    handle.remove()
    remove_bytheway(pipe)
    vanilla = steps()
    assert torch.equal(first, vanilla[0])
    assert not torch.equal(second, vanilla[1])
