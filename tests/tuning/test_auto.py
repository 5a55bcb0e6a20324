"""Settings from the curves of vanilla clips."""

import pytest

from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.curves import Curves
from bytheway.errors import ByTheWayError
from bytheway.tuning.auto import MOST_ALPHA, auto_settings
from bytheway.tuning.derive import largest_alpha
from tests.diagnosis.records import SECOND, THIRD, curves

PRESET = ByTheWayConfig(alpha=0.1, beta=9.0, active_steps=0.3)
FIRST = "up_blocks.1"


def clips(*energies: float, anchor: float = 0.12, disparity: float = 1.0) -> list[Curves]:
    """The third block is half as far from the anchor as the second."""
    return [curves(anchor=anchor, energy=energy, apart=(disparity, disparity)) for energy in energies]


def test_a_broad_anchor_may_guide_as_in_the_paper() -> None:
    found = auto_settings({FIRST: clips(0.13, 0.14, 0.15, 0.20)}, 16, PRESET)
    assert found.config.alpha == MOST_ALPHA
    assert found.config.tau == 7
    assert found.config.anchor_block is None
    assert found.config.active_steps == 0.3, "what is not derived is the preset's"
    assert "more than 0.6, the paper's, is not taken" in found.reasons["alpha"]


def test_a_sharp_anchor_may_not_guide_at_all() -> None:
    found = auto_settings({FIRST: clips(0.11, 0.11, 0.11, 0.11, anchor=0.76, disparity=3.1)}, 16, PRESET)
    assert found.config.alpha == 0


def test_the_tightest_block_sets_the_guidance() -> None:
    found = auto_settings({FIRST: clips(0.11, 0.11, 0.11, 0.11, anchor=0.12, disparity=1.0)}, 16, PRESET)
    assert found.config.alpha == round(largest_alpha(0.11, 0.12, 0.5**2 / 16), 2)
    assert 0 < found.config.alpha < MOST_ALPHA
    assert "no energy to up_blocks.3" in found.reasons["alpha"]
    assert set(found.blocks) == {SECOND, THIRD}


def test_another_anchor_has_to_allow_clearly_more() -> None:
    sharp = clips(0.11, 0.11, 0.11, 0.11, anchor=0.76, disparity=3.1)
    broad = clips(0.13, 0.14, 0.15, 0.20)
    found = auto_settings({FIRST: sharp, SECOND: broad}, 16, PRESET)
    assert found.config.anchor_block == SECOND
    assert "in place of up_blocks.1" in found.reasons["anchor_block"]
    assert auto_settings({FIRST: broad, SECOND: broad}, 16, PRESET).config.anchor_block is None
    kept = PRESET.replace(anchor_block=FIRST)
    assert auto_settings({FIRST: broad, SECOND: broad}, 16, kept).config.anchor_block == FIRST


def test_the_median_clip_is_brought_to_the_livelier_ones_and_no_block_beyond() -> None:
    energies = (0.10, 0.12, 0.14, 0.20)
    found = auto_settings({FIRST: clips(*energies, anchor=0.10)}, 16, PRESET)
    assert found.config.beta == 1, "the anchor's own maps are all alike, and are not amplified beyond that"
    spread = [curves(anchor=energy, energy=energy, apart=(2.0, 2.0)) for energy in energies]
    found = auto_settings({FIRST: spread}, 16, PRESET)
    lively = 0.14 + 0.7 * 0.06
    assert found.config.beta == round(((lively - 1 / 16) / (0.13 - 1 / 16)) ** 0.5, 2)
    assert f"Beta {found.config.beta:.2f} brings the median clip's maps of up_blocks.1" in found.reasons["beta"]


def test_what_is_given_stays_and_the_rest_is_found_for_it() -> None:
    energies = (0.13, 0.14, 0.15, 0.20)
    everything = auto_settings({FIRST: clips(*energies)}, 16, PRESET)
    one = auto_settings({FIRST: clips(*energies)}, 16, PRESET, ["alpha"])
    assert one.config == PRESET.replace(alpha=everything.config.alpha)
    assert set(one.reasons) == {"alpha"}
    # Stronger guidance takes more energy (the anchor is broad), so that more beta is asked for.
    spread = [curves(anchor=energy / 2 + 0.04, energy=energy, apart=(0.6, 0.6)) for energy in energies]
    weak, strong = (
        auto_settings({FIRST: spread}, 16, PRESET.replace(alpha=alpha), ["beta", "tau"]).config for alpha in (0.0, 0.5)
    )
    assert (weak.alpha, strong.alpha) == (0.0, 0.5)
    assert weak.tau == strong.tau == 7
    assert weak.beta <= strong.beta


def test_an_anchor_that_is_given_is_kept() -> None:
    sharp = clips(0.11, 0.11, 0.11, 0.11, anchor=0.76, disparity=3.1)
    by_anchor = {FIRST: sharp, SECOND: clips(0.13, 0.14, 0.15, 0.20)}
    found = auto_settings(by_anchor, 16, PRESET, ["alpha"])
    assert (found.config.alpha, found.config.anchor_block) == (0.0, None)


def test_only_guided_blocks_count() -> None:
    tight = clips(0.11, 0.11, 0.11, 0.11, anchor=0.12, disparity=1.0)
    free = auto_settings({FIRST: tight}, 16, PRESET.replace(guided_blocks=(SECOND,)), ["alpha"])
    assert set(free.blocks) == {SECOND}
    assert free.config.alpha > auto_settings({FIRST: tight}, 16, PRESET, ["alpha"]).config.alpha


def test_beta_of_a_narrow_band_is_not_told_by_records() -> None:
    narrow = PRESET.replace(tau=3)
    with pytest.raises(ByTheWayError, match=r"beta cannot be auto with tau 3: .* which is tau 7 or more for 16 frames"):
        auto_settings({FIRST: clips(0.1, 0.1, 0.1, 0.1)}, 16, narrow, ["beta"])
    assert auto_settings({FIRST: clips(0.1, 0.1, 0.1, 0.1)}, 16, narrow, ["beta", "tau"]).config.tau == 7


def test_too_few_clips_and_nothing_to_guide_are_refused() -> None:
    with pytest.raises(ByTheWayError, match="3 clips say too little of a model; record 4 or more"):
        auto_settings({FIRST: clips(0.1, 0.1, 0.1)}, 16, PRESET)
    alone = [Curves((FIRST,), (0,), (999.0,), {FIRST: one.energy[FIRST]}, {}, {}) for one in clips(0.1, 0.1, 0.1, 0.1)]
    with pytest.raises(ByTheWayError, match="Nothing is guided in this model"):
        auto_settings({FIRST: alone}, 16, PRESET)
