"""What records of attention tell beyond what they hold."""

import pytest
import torch

from bytheway.method import adaptive_beta, attention_energy, band_energy, enhance_motion, self_guide
from research.study.attention import energy_before_amplification
from research.study.variants import PAPER


@pytest.mark.parametrize("sharpness", [0.5, 8.0])
def test_the_energy_of_guided_maps_is_reckoned_from_that_of_used_ones(sharpness: float) -> None:
    """Sharper than the anchor: guidance takes energy, and beta rises above its least."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4, 2, 16, 16)
    attn = (sharpness * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(-1)
    anchor = torch.randn(shape, generator=generator, dtype=torch.float64).softmax(-1)
    guided = self_guide(attn, anchor, PAPER.alpha)
    beta = adaptive_beta(attention_energy(attn), *band_energy(guided, PAPER.tau), PAPER.beta)
    assert bool((beta > PAPER.beta).all()) == (sharpness > 1)
    used = attention_energy(enhance_motion(guided, beta, PAPER.tau))
    found = energy_before_amplification(used.numpy(), beta.numpy())
    assert found == pytest.approx(attention_energy(guided).numpy(), rel=1e-6)
