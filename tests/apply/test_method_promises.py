"""What the method promises for any map: rows, energy, identities, dtypes, videos, gradients, devices."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from bytheway.method import (
    adaptive_beta,
    attention_energy,
    band_energy,
    bytheway_map,
    disparity,
    enhance_motion,
    resample_map,
    self_guide,
)
from tests.toys.maps import (
    DTYPES,
    EXACT,
    alphas,
    betas,
    map_pairs,
    one_hot_map,
    quick,
    rules,
    softmax_map,
    taus,
    uniform_map,
)


@quick
@given(pair=map_pairs(), alpha=alphas, beta=betas, tau=taus, rule=rules)
def test_rows_sum_to_one_and_no_energy_is_lost(pair, alpha, beta, tau, rule):
    attn, anchor = pair
    guided = self_guide(attn, anchor, alpha)
    amplified = enhance_motion(guided, beta, tau)
    low, high = band_energy(guided, tau)
    assert_close(attention_energy(amplified), low + beta**2 * high, **EXACT)
    enhanced = bytheway_map(attn, anchor, alpha, beta, tau, rule)
    for result in (guided, amplified, enhanced):
        assert_close(result.sum(-1), torch.ones(result.shape[:-1], dtype=torch.float64), rtol=0, atol=1e-7)
    given_back = (attention_energy(enhanced) >= attention_energy(attn) * (1 - 1e-7)) | (high <= 1e-12)
    assert given_back.all()
    assert (attention_energy(enhanced) >= attention_energy(guided) * (1 - 1e-12)).all()


@quick
@given(pair=map_pairs(dtypes=DTYPES), tau=taus, rule=rules)
def test_alpha_zero_and_beta_one_change_nothing(pair, tau, rule):
    attn, anchor = pair
    # Not a digit: the rounding of the energies must not pass for lost energy.
    assert torch.equal(bytheway_map(attn, anchor, 0.0, 1.0, tau, rule), attn)


@quick
@given(
    pair=map_pairs(dtypes=DTYPES),
    alpha=st.floats(0, 1),
    beta=betas,
    tau=taus,
    rule=rules,
)
@example(
    pair=(one_hot_map(16, dtype=torch.float32), uniform_map(16, dtype=torch.float32)),
    alpha=1.0,
    beta=1.5,
    tau=7,
    rule="ratio",
)
@example(
    pair=(one_hot_map(12, dtype=torch.float32), uniform_map(12, dtype=torch.float32)),
    alpha=1.0,
    beta=1.5,
    tau=2,
    rule="sqrt",
)
def test_everything_stays_finite_in_every_dtype(pair, alpha, beta, tau, rule):
    attn, anchor = pair
    working = torch.float64 if attn.dtype == torch.float64 else torch.float32
    energy, (low, high) = attention_energy(attn), band_energy(self_guide(attn, anchor, alpha), tau)
    used = adaptive_beta(energy, low, high, beta, rule)
    for number in (energy, low, high, used, disparity(attn, anchor)):
        assert number.dtype == working
        assert number.isfinite().all()
    assert (used >= torch.tensor(beta, dtype=working)).all()
    enhanced = bytheway_map(attn, anchor, alpha, beta, tau, rule)
    assert enhanced.dtype == attn.dtype
    assert enhanced.shape == attn.shape
    assert not enhanced.isnan().any()


@pytest.mark.parametrize("rule", ["sqrt", "ratio"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_one_frame_is_left_as_it_is(alpha, rule):
    attn = torch.ones(2, 3, 2, 1, 1)
    assert torch.equal(bytheway_map(attn, attn, alpha, 10.0, 7, rule), attn)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_only_at_the_end(dtype):
    attn, anchor = softmax_map(6, 16, dtype=dtype), softmax_map(7, 16, dtype=dtype)
    enhanced = bytheway_map(attn, anchor, 0.6, 1.5, 7)
    assert torch.equal(enhanced, bytheway_map(attn.float(), anchor.float(), 0.6, 1.5, 7).to(dtype))


def test_autocast_does_not_lower_the_precision():
    attn, anchor = softmax_map(8, 16, dtype=torch.float32), softmax_map(9, 16, dtype=torch.float32)
    expected = bytheway_map(attn, anchor, 0.6, 1.5, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bytheway_map(attn, anchor, 0.6, 1.5, 7), expected)


def test_a_video_does_not_depend_on_its_batch():
    attn, anchor = softmax_map(10, 16, videos=3), softmax_map(11, 16, videos=3)
    attn[1] = uniform_map(16)[0]
    together = bytheway_map(attn, anchor, 0.6, 1.5, 7)
    for video in range(3):
        one = slice(video, video + 1)
        assert_close(bytheway_map(attn[one], anchor[one], 0.6, 1.5, 7), together[one], **EXACT)


def test_the_conditional_half_sets_the_beta_of_both():
    attn, anchor = softmax_map(12, 16, videos=4), softmax_map(13, 16, videos=4, contrast=1.0)
    attn[:2] = softmax_map(14, 16, contrast=5.0)
    guided = self_guide(attn, anchor, 0.6)
    own = adaptive_beta(attention_energy(attn), *band_energy(guided, 7), 1.5)
    assert (own[:2] - own[2:]).abs().min() > 0.1
    enhanced = bytheway_map(attn, anchor, 0.6, 1.5, 7, conditional=torch.tensor([2, 3, 2, 3]))
    assert_close(enhanced, enhance_motion(guided, own[2:].repeat(2), 7), **EXACT)


# --- gradients and devices


@pytest.mark.parametrize("rule", ["sqrt", "ratio"])
@pytest.mark.parametrize("num_frames", [4, 5])
def test_gradients_are_right(num_frames, rule):
    attn = softmax_map(15, num_frames, videos=2, pixels=2, heads=1).requires_grad_()
    anchor = softmax_map(16, num_frames, videos=2, pixels=2, heads=1, contrast=0.5).requires_grad_()
    alpha, beta = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.7, 1.2))

    def operation(attn, anchor, alpha, beta):
        up = resample_map(anchor, (1, 2), (1, 2), 1)
        return bytheway_map(attn, up, alpha, beta, 1, rule), disparity(attn, up)

    assert torch.autograd.gradcheck(operation, (attn, anchor, alpha, beta))


@pytest.mark.parametrize("make", [uniform_map, one_hot_map])
@pytest.mark.parametrize("num_frames", [1, 2, 16])
def test_gradients_are_finite_where_roots_and_quotients_vanish(make, num_frames):
    attn = make(num_frames).requires_grad_()
    anchor = uniform_map(num_frames).requires_grad_()
    (bytheway_map(attn, anchor, 1.0, 1.5, 7).square().sum() + disparity(attn, anchor).sum()).backward()
    assert attn.grad.isfinite().all()
    assert anchor.grad.isfinite().all()


def test_no_value_is_read_back_from_the_device():
    with FakeTensorMode():  # tensors without values: reading one raises
        anchor, attn = torch.rand(4, 6, 4, 16, 16), torch.rand(4, 24, 2, 16, 16)
        beta, conditional = torch.rand(4), torch.tensor([2, 3, 2, 3])
        enhanced = bytheway_map(
            attn, resample_map(anchor, (2, 3), (4, 6), 2), torch.tensor(0.6), beta, 7, conditional=conditional
        )
    assert enhanced.shape == (4, 24, 2, 16, 16)
