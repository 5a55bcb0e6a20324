"""Clips under every treatment, on a model with random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytheway import observe
from bytheway.config import ByTheWayConfig
from bytheway.method import attention_energy, band_energy, enhance_motion, frequency_filter
from research.study.bands import band_filter, filtered_attention
from research.study.sampling import Sampling, as_arrays, denoise, open_pipeline, sample, sample_recorded
from research.study.swap import prompt_pairs, sample_swaps
from research.study.variants import BOTH, PAPER, VANILLA, Variant, cells

TEXTS = ["a red ball rolling left on the grass", "a blue star spinning at night"]
SAMPLING = Sampling(seed=3, steps=3)


@pytest.fixture(scope="module")
def pipe(model_folder: Path) -> Any:
    return open_pipeline(str(model_folder), torch.device("cpu"))


@pytest.fixture(scope="module")
def vanilla(pipe: Any) -> torch.Tensor:
    return sample(pipe, VANILLA, TEXTS, 0, SAMPLING)


def test_a_clip_depends_on_its_own_number_alone(model_folder: Path) -> None:
    # In float64: a model of random weights makes a hundred thousand times as much of a rounding in one forward.
    pipe = open_pipeline(str(model_folder), torch.device("cpu")).to(torch.float64)
    together, alone = (sample(pipe, VANILLA, TEXTS[first:], first, SAMPLING) for first in (0, 1))
    assert torch.allclose(alone[0], together[1], atol=0.01)
    assert not torch.allclose(together[0], together[1], atol=0.5)


@pytest.mark.parametrize(
    "variant", [*cells("diorama").values(), Variant(PAPER, band="low"), Variant(PAPER, band="high")]
)
def test_treatments_change_clips_and_leave_the_pipeline(pipe: Any, vanilla: torch.Tensor, variant: Variant) -> None:
    treated = sample(pipe, variant, TEXTS, 0, SAMPLING)
    assert torch.equal(treated, vanilla) == (variant == VANILLA)
    assert torch.isfinite(treated).all()
    assert torch.equal(sample(pipe, VANILLA, TEXTS, 0, SAMPLING), vanilla)


def test_recording_changes_no_clip(pipe: Any, vanilla: torch.Tensor) -> None:
    latents, record = sample_recorded(pipe, VANILLA, TEXTS, 0, SAMPLING)
    assert torch.equal(latents, vanilla)
    blocks = ["down_blocks.0"] * 2 + ["down_blocks.1"] * 2 + ["down_blocks.2"] * 2 + ["mid_block"] * 2
    blocks += ["up_blocks.0"] * 4 + ["up_blocks.1"] * 4 + ["up_blocks.2"] * 4
    assert record["sites"].tolist() == blocks
    assert record["energy"].shape == (2, 3, len(blocks))
    guided = np.array([block in ("up_blocks.1", "up_blocks.2") for block in blocks])
    assert np.isnan(record["disparity"]).all((0, 1)).tolist() == (~guided).tolist()
    assert (record["beta"] == 1).all()


def test_a_record_of_the_method_has_its_active_steps(pipe: Any) -> None:
    _, record = sample_recorded(pipe, BOTH, TEXTS, 0, SAMPLING)
    assert record["beta"].shape == (2, 1, 12)
    assert (record["beta"] >= PAPER.beta).all()
    assert (record["energy_after"] >= record["energy"] * (1 - 1e-5)).all()
    assert (record["energy_after"][..., :4] > record["energy"][..., :4]).all(), "the anchor block is only amplified"


def test_arrays_of_a_record_are_its_rows(pipe: Any) -> None:
    with observe(pipe) as run:
        denoise(pipe, TEXTS, SAMPLING, generator=SAMPLING.generators(0, 2))
    assert run.record is not None
    arrays, rows = as_arrays(run.record), run.record.rows()
    last = [row for row in rows if row.block == "up_blocks.2" and row.step == 2 and row.video == 1][-1]
    assert arrays["energy"][1, 2, -1] == pytest.approx(last.energy)
    assert arrays["disparity"][1, 2, -1] == pytest.approx(last.disparity)


def test_bands_are_what_they_are_called() -> None:
    attn = torch.rand(1, 4, 2, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for config in (PAPER, ByTheWayConfig(tau=4, beta=2.0)):
        low, high, amplified = (attn @ band_filter(band, 16, config).double() for band in ("low", "high", "amplified"))
        energies = band_energy(attn, config.tau)
        assert attention_energy(low).item() == pytest.approx(energies[0].item(), rel=1e-5)
        assert attention_energy(high).item() == pytest.approx(energies[1].item(), rel=1e-5)
        assert torch.allclose(low + high, attn, atol=1e-6)
        assert torch.allclose(amplified, enhance_motion(attn, config.beta, config.tau), atol=1e-6)


def test_filtered_attention_filters_the_maps_of_the_decoder(pipe: Any) -> None:
    attention = pipe.unet.get_submodule("up_blocks.1.motion_modules.0.transformer_blocks.0.attn1")
    encoder = pipe.unet.get_submodule("down_blocks.1.motion_modules.0.transformer_blocks.0.attn1")
    frames = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, other = attention(frames), encoder(frames)
        with filtered_attention(pipe, "low", PAPER):
            filtered, untouched = attention(frames), encoder(frames)
        value = attention.to_v(frames)
        expected = attention.to_out[0](frequency_filter(16, PAPER.tau, 0.0) @ value)
    assert torch.equal(other, untouched)
    assert not torch.allclose(plain, filtered, atol=1e-3)
    # With tau 7 of 16 frames only DC is left: every frame sees the mean of all.
    assert torch.allclose(filtered, expected, atol=1e-5)


def test_swapped_prompts_differ_in_everything() -> None:
    pairs = prompt_pairs(30, seed=1)
    assert prompt_pairs(9, seed=1) == pairs[:9]
    for (before, text), (after, other) in pairs:
        assert before.subject != after.subject
        assert before.motion != after.motion
        assert text != other


def test_a_swap_is_one_prompt_and_then_the_other(pipe: Any) -> None:
    (first, second), *_ = prompt_pairs(1, SAMPLING.seed)
    clips = sample_swaps(pipe, [(first, second)], 0, SAMPLING)
    assert clips.shape[:2] == (1, SAMPLING.steps + 1)
    ends = [sample(pipe, VANILLA, [text], 0, SAMPLING)[0] for _, text in (second, first)]
    assert torch.equal(clips[0, 0], ends[0])
    assert torch.equal(clips[0, -1], ends[1])
    # Swapped for itself, a prompt goes on as if nothing had happened.
    same = sample_swaps(pipe, [(first, first)], 0, SAMPLING)
    assert torch.allclose(same, same[:, :1], atol=1e-5)
    assert len(pipe.scheduler.timesteps) == 1, "the last run had one step left"
    assert torch.equal(sample(pipe, VANILLA, [first[1]], 0, SAMPLING)[0], ends[1])


def test_a_swap_by_hand(pipe: Any) -> None:
    """The same as changing the pipeline's prompt on the way."""
    (_, before), (_, after) = prompt_pairs(1, SAMPLING.seed)[0]

    def swap(running: Any, step: int, timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if step != 0:
            return {}
        embeds, negative = running.encode_prompt([after], running.device, 1, True)
        return {"prompt_embeds": torch.cat([negative, embeds]).repeat_interleave(16, 0)}

    expected = denoise(pipe, [before], SAMPLING, generator=SAMPLING.generators(0, 1), callback_on_step_end=swap)
    clips = sample_swaps(pipe, prompt_pairs(1, SAMPLING.seed), 0, SAMPLING)
    assert torch.allclose(clips[:, 1], expected, atol=1e-5)
    assert not torch.allclose(clips[:, 1], clips[:, -1], atol=1e-3)
