"""Settings derived from energies, held against the method itself on random maps."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bytheway.method import attention_energy, disparity, enhance_motion, only_dc_is_low, self_guide
from bytheway.tuning.derive import guided_energy, largest_alpha, least_squared_distance, wanted_beta, widest_tau

SHARPNESS = st.floats(0.1, 12)


def maps(seed: int, sharpness: float, frames: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(1, 5, 2, frames, frames, generator=generator, dtype=torch.float64)).softmax(-1)


def squared_distance(attn: Tensor, anchor: Tensor) -> float:
    return (anchor - attn).square().sum(-1).mean().item()


@given(st.integers(0, 99), SHARPNESS, SHARPNESS, st.floats(0, 1))
def test_the_energy_of_guided_maps(seed: int, site: float, anchor: float, alpha: float) -> None:
    attn, reference = maps(seed, site), maps(seed + 100, anchor)
    expected = attention_energy(self_guide(attn, reference, alpha)).item()
    energies = attention_energy(attn).item(), attention_energy(reference).item()
    assert guided_energy(*energies, squared_distance(attn, reference), alpha) == pytest.approx(expected)


@given(st.integers(0, 99), SHARPNESS, SHARPNESS)
def test_no_weaker_guidance_adds_energy_and_any_stronger_does(seed: int, site: float, anchor: float) -> None:
    attn, reference = maps(seed, site), maps(seed + 100, anchor)
    energy, other = attention_energy(attn).item(), attention_energy(reference).item()
    largest = largest_alpha(energy, other, squared_distance(attn, reference))
    for share in (0.25, 0.5, 1.0):
        assert attention_energy(self_guide(attn, reference, share * largest)).item() <= energy * (1 + 1e-9)
    if largest < 0.99:
        assert attention_energy(self_guide(attn, reference, largest + 0.01)).item() > energy


@given(st.integers(0, 99), SHARPNESS, SHARPNESS)
def test_what_is_recorded_errs_on_the_careful_side(seed: int, site: float, anchor: float) -> None:
    attn, reference = maps(seed, site), maps(seed + 100, anchor)
    energies = attention_energy(attn).item(), attention_energy(reference).item()
    exact = squared_distance(attn, reference)
    bound = least_squared_distance(disparity(attn, reference).item(), attn.shape[-1])
    assert bound <= exact * (1 + 1e-9)
    assert largest_alpha(*energies, bound) <= largest_alpha(*energies, exact) + 1e-9


@given(st.integers(0, 99), SHARPNESS, st.integers(2, 25), st.floats(1, 4))
def test_the_wanted_energy_is_reached(seed: int, sharpness: float, frames: int, beta: float) -> None:
    attn, tau = maps(seed, sharpness, frames), widest_tau(frames)
    assert only_dc_is_low(frames, tau)
    energy = attention_energy(attn).item()
    wanted = attention_energy(enhance_motion(attn, beta, tau)).item()
    assert wanted_beta(energy, wanted, frames) == pytest.approx(beta)


def test_maps_that_have_enough_are_not_amplified() -> None:
    assert wanted_beta(0.3, 0.2, 16) == 1
    assert wanted_beta(1 / 16, 0.2, 16) == 1, "in a flat map there is nothing to amplify"
    assert wanted_beta(0.2, 0.01, 16) == 1


@pytest.mark.parametrize("frames", range(1, 33))
def test_no_smaller_tau_has_all_but_dc(frames: int) -> None:
    tau = widest_tau(frames)
    assert only_dc_is_low(frames, tau)
    assert tau == 0 or not only_dc_is_low(frames, tau - 1)


def test_equal_maps_may_be_guided_at_will() -> None:
    assert largest_alpha(0.2, 0.2, 0.0) == 1
    assert largest_alpha(0.1, 0.2, 0.0) == 0, "which no maps have, but rounding may"
    assert math.isclose(largest_alpha(0.24, 0.76, 0.5625), 1 - 0.52 / 0.5625)
