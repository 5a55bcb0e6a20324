"""Blocks of `enhanced` that are nested, end out of order, or lie on a denoiser and its pipeline at once."""

import copy

import pytest
import torch

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe, remove_bytheway
from tests.toys import joint
from tests.toys.tiny import generate, make_pipeline

HALF = ByTheWayConfig(active_steps=0.5)
JOINT = ByTheWayConfig(alpha=0, beta=2.5, tau=1)


@pytest.fixture
def pipe():
    return make_pipeline(channels=(32, 32), cross_attention=False)


def run(pipe):
    return generate(pipe, num_frames=4, height=8, width=8)


def is_free(pipe):
    """Whether nothing of ours is on a pipeline or its denoiser."""
    names = {"_bytheway", "_diffusers_hook", "forward"}
    return "_bytheway" not in vars(pipe) and not any(names & vars(module).keys() for module in pipe.unet.modules())


def test_the_outer_block_ends_first(pipe):
    """What began later goes on, and nothing that has ended comes back after it."""
    vanilla = run(pipe)
    with enhanced(pipe, HALF, beta=4.0, record=False):
        strong = run(pipe)
    outer, inner = enhanced(pipe, HALF), enhanced(pipe, HALF, beta=4.0)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert torch.equal(run(pipe), strong)
    inner.__exit__(None, None, None)
    assert torch.equal(run(pipe), vanilla)
    assert is_free(pipe)


def test_of_three_blocks_the_middle_one_ends_first(pipe):
    apply_bytheway(pipe, HALF)
    applied = run(pipe)
    blocks = [enhanced(pipe, HALF, beta=beta, record=False) for beta in (2.0, 3.0, 4.0)]
    videos = []
    for block in blocks:
        block.__enter__()
        videos.append(run(pipe))
    blocks[1].__exit__(None, None, None)
    assert torch.equal(run(pipe), videos[2])
    blocks[2].__exit__(None, None, None)
    assert torch.equal(run(pipe), videos[0])
    blocks[0].__exit__(None, None, None)
    assert torch.equal(run(pipe), applied)


def test_what_a_block_applies_goes_with_it(pipe):
    vanilla = run(pipe)
    with enhanced(pipe, HALF):
        apply_bytheway(pipe, HALF, beta=4.0)
    assert torch.equal(run(pipe), vanilla)
    assert is_free(pipe)


@pytest.mark.parametrize("block", [enhanced, observe])
def test_a_shallow_copy_made_in_a_block_ends_with_it(pipe, block):
    """It shares the denoiser, which is to be what it was."""
    vanilla = run(pipe)
    with block(pipe, HALF) as inner:
        shallow = copy.copy(pipe)
    recorded = len(inner.record)
    assert torch.equal(run(shallow), vanilla)
    assert len(inner.record) == recorded
    assert is_free(pipe)


@pytest.fixture
def wan():
    """Two denoisers."""
    return joint.FACTORIES["wan_2_2"]()[0]


def test_refused_for_one_denoiser_it_is_off_the_other(wan):
    apply_bytheway(wan, JOINT)
    apply_bytheway(wan.transformer, JOINT)
    with pytest.raises(ByTheWayError, match="give remove_bytheway the denoiser"):
        remove_bytheway(wan)
    assert "_bytheway" in vars(wan.transformer)
    assert "_bytheway" not in vars(wan.transformer_2)
    assert "_bytheway" not in vars(wan)


def test_taken_off_one_denoiser_it_stays_on_the_other(wan):
    apply_bytheway(wan, JOINT)
    remove_bytheway(wan.transformer)
    assert "_bytheway" not in vars(wan.transformer)
    assert wan.transformer_2._bytheway.applied_to(wan).config == JOINT
    remove_bytheway(wan.transformer_2)
    assert "_bytheway" not in vars(wan.transformer_2)
    assert "_bytheway" not in vars(wan)


def test_a_copy_of_both_denoisers_has_one_config(wan):
    apply_bytheway(wan, JOINT)
    made = copy.deepcopy(wan)
    of_first, of_second = (
        type(one._bytheway).on(one).applied_to(made) for one in (made.transformer, made.transformer_2)
    )
    assert of_first is of_second
    assert of_first.config == JOINT
