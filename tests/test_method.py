"""The method on tensors: against an FFT form written here, closed forms and reference tensors."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from bytheway.errors import ByTheWayError
from bytheway.method import (
    adaptive_beta,
    attention_energy,
    band_energy,
    bytheway_map,
    disparity,
    enhance_motion,
    frequency_filter,
    high_band,
    only_dc_is_low,
    projector,
    resample_map,
    self_guide,
)
from tests.toys.maps import (
    EXACT,
    alphas,
    betas,
    frames,
    map_pairs,
    one_hot_map,
    quick,
    rules,
    softmax_map,
    taus,
    uniform_map,
)

REFERENCE = Path(__file__).parents[2] / "shared" / "fixtures" / "reference_op"


def fft_form(attn, anchor, alpha, beta, tau, rule="sqrt"):
    """The paper's operation by fast Fourier transforms, one video at a time, with numbers instead of tensors."""
    num_frames, enhanced = attn.shape[-1], []
    for before, guide in zip(attn, anchor, strict=True):
        guided = (1 - alpha) * before + alpha * guide
        centred = torch.fft.fftshift(torch.fft.fft(guided, dim=-1), dim=-1)
        frequency = torch.fft.fftshift(torch.fft.fftfreq(num_frames, 1 / num_frames)).abs()
        high = (frequency >= num_frames / 2 - tau) & (frequency != 0)
        row_power = centred.abs().square() / num_frames
        energy = (before**2).sum(-1).mean().item()
        energy_high = row_power[..., high].sum(-1).mean().item()
        energy_low = row_power[..., ~high].sum(-1).mean().item()
        used = beta
        if energy_high > 1e-15 and energy > energy_low:
            ratio = (energy - energy_low) / energy_high
            used = max(beta, math.sqrt(ratio) if rule == "sqrt" else ratio)
        centred = torch.where(high, used * centred, centred)
        enhanced.append(torch.fft.ifft(torch.fft.ifftshift(centred, dim=-1), dim=-1))
    result = torch.stack(enhanced)
    assert result.imag.abs().max() < 1e-10, "the band must be symmetric, or the filtered map is not real"
    return result.real


# --- the band and its filter


@pytest.mark.parametrize(
    ("num_frames", "tau", "bins"),
    [
        (16, 7, range(1, 16)),
        (16, 3, range(5, 12)),
        (16, 100, range(1, 16)),
        (16, 0, [8]),
        (24, 7, range(5, 20)),
        (8, 7, range(1, 8)),
        (15, 7, range(1, 15)),
        (25, 7, range(6, 20)),
        (25, 0, []),
        (2, 0, [1]),
        (2, 7, [1]),
        (1, 0, []),
        (1, 7, []),
    ],
)
def test_high_band_holds_these_bins(num_frames, tau, bins):
    band = high_band(num_frames, tau)
    assert band.dtype == torch.bool
    assert band.shape == (num_frames,)
    assert band.nonzero().flatten().tolist() == list(bins)


@pytest.mark.parametrize(("num_frames", "tau"), [(0, 7), (-1, 7), (16, -1)])
def test_no_band_without_frames_or_with_negative_tau(num_frames, tau):
    with pytest.raises(ByTheWayError, match=f"There is no band of {num_frames} frames with tau {tau}"):
        high_band(num_frames, tau)


@quick
@given(num_frames=frames, tau=taus, beta=st.floats(0, 12))
def test_filter_is_the_symmetric_circulant_with_the_bands_eigenvalues(num_frames, tau, beta):
    circulant = frequency_filter(num_frames, tau, beta, dtype=torch.float64)
    assert_close(circulant, circulant.T, **EXACT)
    assert_close(circulant, circulant.roll((1, 1), (0, 1)), **EXACT)
    spectrum = torch.fft.fft(circulant[0])
    assert_close(spectrum.real, 1 + (beta - 1) * high_band(num_frames, tau).double(), **EXACT)
    assert_close(spectrum.imag, torch.zeros(num_frames, dtype=torch.float64), **EXACT)


def test_filter_keeps_the_mean_to_the_last_digits_of_float32():
    for num_frames in (3, 16, 33, 64):
        sums = frequency_filter(num_frames, 7, 0.0).double().sum(-1)
        assert_close(sums, torch.ones_like(sums), rtol=0, atol=4e-7)


def test_one_filter_for_each_beta():
    beta = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    stacked = frequency_filter(16, 3, beta)
    assert stacked.shape == (2, 2, 16, 16)
    for row in range(2):
        for column in range(2):
            assert_close(stacked[row, column], frequency_filter(16, 3, beta[row, column].item()))


@pytest.mark.parametrize(("num_frames", "tau"), [(1, 7), (2, 0), (13, 4), (16, 7), (24, 7)])
def test_projector_keeps_the_high_band_alone(num_frames, tau):
    keep = projector(num_frames, tau, dtype=torch.float64)
    spectrum = torch.fft.fft(keep[0])
    assert_close(spectrum.real, high_band(num_frames, tau).double(), **EXACT)
    assert_close(keep @ keep, keep, **EXACT)
    all_but_dc = torch.eye(num_frames, dtype=torch.float64) - 1 / num_frames
    assert torch.allclose(keep, all_but_dc, atol=1e-12) is only_dc_is_low(num_frames, tau)


def test_projector_is_made_once_and_for_every_mode():
    """Not with tensors of a mode that the next caller is not in."""
    with FakeTensorMode():
        projector(11, 3)
    with torch.inference_mode():
        keep = projector(11, 3)
    assert projector(11, 3) is projector(11, 3, device=torch.device("cpu")) is keep
    assert_close(keep.sum(-1), torch.zeros(11))
    assert not keep.is_inference()
    with torch.device("meta"):
        assert projector(11, 3).device.type == "meta"
    assert projector(11, 3) is keep


def test_filtering_the_keys_of_the_map_equals_filtering_the_frames_of_the_values():
    attn = softmax_map(0, 13)
    values = torch.randn(2, 3, 2, 13, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    circulant = frequency_filter(13, 4, 1.7, dtype=torch.float64)
    assert_close(enhance_motion(attn, 1.7, 4) @ values, attn @ (circulant @ values), **EXACT)


# --- against independent forms


@quick
@given(pair=map_pairs(), alpha=alphas, beta=betas, tau=taus, rule=rules)
def test_equals_the_fft_form(pair, alpha, beta, tau, rule):
    attn, anchor = pair
    expected = fft_form(attn, anchor, alpha, beta, tau, rule)
    # A guided map within 1e-7 of uniform can ask for a beta of 1e7, which shows its last digits.
    assert_close(bytheway_map(attn, anchor, alpha, beta, tau, rule), expected, rtol=1e-6, atol=1e-8)


@quick
@given(pair=map_pairs(), tau=taus)
def test_band_energies_are_those_of_the_spectrum(pair, tau):
    attn, _ = pair
    power = torch.fft.fft(attn, dim=-1).abs().square() / attn.shape[-1]
    band = high_band(attn.shape[-1], tau)
    low, high = band_energy(attn, tau)
    assert_close(high, power[..., band].sum(-1).mean((1, 2, 3)), **EXACT)
    assert_close(low, power[..., ~band].sum(-1).mean((1, 2, 3)), **EXACT)
    assert_close(low + high, attention_energy(attn), **EXACT)


def test_closed_form_where_the_band_is_all_but_dc():
    attn, anchor = softmax_map(2, 16), softmax_map(3, 16)
    guided = attn + 0.6 * (anchor - attn)
    for beta in (1.5, 4.0):
        assert_close(enhance_motion(guided, beta, 7), 1 / 16 + beta * (guided - 1 / 16), **EXACT)
    low, high = band_energy(guided, 7)
    assert_close(low, torch.full_like(low, 1 / 16), **EXACT)
    used = ((attention_energy(attn) - 1 / 16) / high).sqrt().clamp(min=1.5)[:, None, None, None, None]
    assert_close(bytheway_map(attn, anchor, 0.6, 1.5, 7), 1 / 16 + used * (guided - 1 / 16), **EXACT)


@pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the reference tensors (../shared/fixtures) are not beside this tree"
)
@pytest.mark.parametrize("index", range(8))
def test_reference_tensors(index):
    case = json.loads((REFERENCE / "index.json").read_text())[index]
    tensors = load_file(REFERENCE / case["file"])
    # Stored as (halves * pixels * heads, F, F), the unconditional half first.
    attn, anchor, expected = (
        tensors[name].unflatten(0, (2, case["pixels"], case["heads"])) for name in ("attn", "anchor", "enhanced")
    )
    alpha, beta, tau, conditional = case["alpha"], case["beta"], case["tau"], torch.tensor([1, 1])

    energy = attention_energy(attn)
    low, high = band_energy(self_guide(attn, anchor, alpha), tau)
    used = adaptive_beta(energy, low, high, beta)
    enhanced = bytheway_map(attn, anchor, alpha, beta, tau, conditional=conditional)
    measured = {"E1": energy, "E2_low": low, "E2_high": high, "beta_used": used, "E3": attention_energy(enhanced)}
    for name, value in measured.items():
        assert value[1].item() == pytest.approx(case[name], rel=1e-12), name
    assert_close(enhanced, expected, rtol=1e-12, atol=1e-12)


# --- energy, disparity, the adaptive beta


def test_energy_runs_from_one_over_f_to_one():
    assert_close(attention_energy(uniform_map(10)), torch.full((2,), 0.1, dtype=torch.float64))
    assert_close(attention_energy(one_hot_map(10)), torch.ones(2, dtype=torch.float64))


def test_disparity_is_the_mean_frobenius_norm():
    attn = torch.zeros(1, 2, 1, 2, 2)
    anchor = torch.zeros(1, 2, 1, 2, 2)
    anchor[0, 0, 0] = torch.tensor([[3.0, 0.0], [0.0, 4.0]])  # norm 5; the other pixel: 0
    assert_close(disparity(attn, anchor), torch.tensor([2.5]))


@pytest.mark.parametrize(
    ("energy", "low", "high", "rule", "expected"),
    [
        (0.5, 0.1, 0.025, "sqrt", 4.0),
        (0.5, 0.1, 0.025, "ratio", 16.0),
        (0.2, 0.1, 0.1, "sqrt", 1.5),  # nothing was lost
        (0.1, 0.1, 0.0, "sqrt", 1.5),  # uniform
        (0.5, 0.1, 0.0, "ratio", 1.5),  # nothing to amplify
        (0.5, 0.1, 1e-20, "sqrt", 1.5),  # nothing but rounding to amplify
        (0.05, 0.1, 0.1, "sqrt", 1.5),  # E1 < E2_low
    ],
)
def test_adaptive_beta_gives_back_what_guidance_took(energy, low, high, rule, expected):
    used = adaptive_beta(torch.tensor([energy]), torch.tensor([low]), torch.tensor([high]), 1.5, rule)
    assert_close(used, torch.tensor([expected]))
    least = torch.tensor([1.5])
    assert_close(adaptive_beta(torch.tensor([energy]), torch.tensor([low]), torch.tensor([high]), least, rule), used)


def test_beta_stays_what_it_was_where_nothing_is_to_be_amplified():
    energy, low, high = torch.tensor([[0.5], [0.1], [0.0]])
    assert adaptive_beta(energy, low, high, 0.5).item() == 0.5


def test_unknown_beta_rule_is_said():
    one = torch.ones(1)
    with pytest.raises(ByTheWayError, match="The beta rule is 'square'; it must be one of sqrt, ratio"):
        adaptive_beta(one, one, one, 1.5, "square")


# --- the anchor on another site


def test_resampling_is_bilinear_between_pixel_centres():
    ramp = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1)
    assert resample_map(ramp, (1, 2), (1, 4), 1).flatten().tolist() == [0.0, 0.25, 0.75, 1.0]
    grid = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).reshape(1, 4, 1, 1, 1)
    line = torch.tensor([0.0, 0.25, 0.75, 1.0])
    expected = 2 * line[:2, None] + line  # rows 0 and 1 of 4, of a plane that is linear between the centres
    assert_close(resample_map(grid, (2, 2), (4, 4), 1).reshape(4, 4)[:2], expected)


def test_resampling_keeps_each_heads_and_frames_entries_apart():
    anchor = softmax_map(4, 5, videos=2, pixels=6, heads=3)
    resampled = resample_map(anchor, (2, 3), (5, 7), 3)
    assert resampled.shape == (2, 35, 3, 5, 5)
    single = anchor[1, :, 2, 4, 0].reshape(1, 6, 1, 1, 1)
    assert_close(resampled[1, :, 2, 4, 0], resample_map(single, (2, 3), (5, 7), 1).flatten())
    assert_close(resample_map(anchor, (2, 3), (2, 3), 3), anchor)


def test_heads_are_averaged_by_the_rule():
    anchor = softmax_map(5, 4, pixels=6, heads=6)
    same = {"height_width": (2, 3), "new_height_width": (2, 3)}
    mean = anchor.mean(2, keepdim=True)
    pairs = torch.stack([anchor[:, :, 0:2].mean(2), anchor[:, :, 2:4].mean(2), anchor[:, :, 4:6].mean(2)], 2)
    assert_close(resample_map(anchor, **same, heads=3), pairs)
    assert_close(resample_map(anchor, **same, heads=3, head_rule="mean"), mean.expand(-1, -1, 3, -1, -1))
    assert_close(resample_map(anchor, **same, heads=6, head_rule="mean"), mean.expand(-1, -1, 6, -1, -1))
    assert_close(resample_map(anchor, **same, heads=4), mean.expand(-1, -1, 4, -1, -1))
    assert_close(resample_map(anchor, **same, heads=12), mean.expand(-1, -1, 12, -1, -1))


def test_wrong_sizes_are_said():
    attn, anchor = softmax_map(0, 4), softmax_map(0, 4, pixels=6)
    with pytest.raises(ByTheWayError, match="The anchor map has 6 pixels, not 2 x 2; give the size it was made at"):
        resample_map(anchor, (2, 2), (4, 4), 2)
    for function in (disparity, lambda a, b: self_guide(a, b, 0.5), lambda a, b: bytheway_map(a, b, 0.5, 1.5, 7)):
        with pytest.raises(ByTheWayError, match=r"is \(2, 6, 2, 4, 4\) and the site's \(2, 3, 2, 4, 4\); resample"):
            function(attn, anchor)
