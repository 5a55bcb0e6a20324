"""The energy cap, against energies computed from the attentions' own maps, on a tiny AnimateDiff."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from bytheway import ByTheWayError
from bytheway.training import EnergyCap
from tests.toys import tiny

BLOCKS = (
    "down_blocks.0",
    "down_blocks.1",
    "down_blocks.2",
    "down_blocks.3",
    "mid_block",
    "up_blocks.0",
    "up_blocks.1",
    "up_blocks.2",
    "up_blocks.3",
)
Inputs = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def unet() -> Any:
    return tiny.make_pipeline().unet.requires_grad_(True)


@pytest.fixture
def inputs() -> Inputs:
    """Latents of two videos of 8 frames, timesteps, texts."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(2, 4, 8, 8, 8, generator=generator)
    return latents, torch.tensor([700, 300]), torch.randn(16, 5, 32, generator=generator)


def own_energies(unet: nn.Module, inputs: Inputs) -> dict[str, float]:
    """By block, from every attention's hidden states, its own projections and its own softmax, video by video."""
    found: dict[str, list[float]] = {}

    def measure(path: str) -> Callable[..., None]:
        def hook(module: Any, arguments: tuple[Tensor, ...], keywords: dict[str, Any]) -> None:
            hidden = arguments[0]
            query, key = (module.head_to_batch_dim(project(hidden)) for project in (module.to_q, module.to_k))
            attn = module.get_attention_scores(query, key).double()
            videos = [maps.square().sum(-1).mean().item() for maps in attn.chunk(2)]
            found.setdefault(path.partition(".motion_modules")[0], []).append(sum(videos) / 2)

        return hook

    handles = [
        module.register_forward_pre_hook(measure(path), with_kwargs=True)
        for path, module in unet.named_modules()
        if "motion_modules" in path and path.endswith(("attn1", "attn2"))
    ]
    with torch.no_grad():
        unet(*inputs)
    for handle in handles:
        handle.remove()
    return {block: sum(values) / len(values) for block, values in found.items()}


def test_energies_and_penalty_are_those_of_the_attentions_own_maps(unet: Any, inputs: Inputs) -> None:
    expected = own_energies(unet, inputs)
    target = sorted(expected.values())[4]
    with EnergyCap(unet, target=target, weight=0.7) as cap:
        unet(*inputs)
        energies, penalty = cap.energies(), cap.penalty()
    assert tuple(energies) == cap.blocks == BLOCKS
    assert {block: energy.item() for block, energy in energies.items()} == pytest.approx(expected, rel=1e-5)
    assert all(1 / 8 <= energy <= 1 for energy in energies.values())
    assert max(expected.values()) > 0.3, "the tiny model's maps are far from uniform"
    excess = sum(max(energy - target, 0) for energy in expected.values())
    assert penalty.item() == pytest.approx(0.7 * excess, rel=1e-4)
    assert penalty.dtype == torch.float32
    assert penalty.shape == ()


@pytest.mark.parametrize("blocks", ["up_blocks.1", ["up_blocks.1"], ("up_blocks.2", "up_blocks.1")])
def test_blocks_are_chosen_by_name(unet: Any, inputs: Inputs, blocks: Any) -> None:
    with EnergyCap(unet, blocks=blocks) as cap, EnergyCap(unet) as whole:
        unet(*inputs)
        chosen, every = cap.energies(), whole.energies()
    wanted = {blocks} if isinstance(blocks, str) else set(blocks)
    assert set(chosen) == wanted
    assert all(torch.equal(chosen[block], every[block]) for block in chosen)
    assert cap.blocks == tuple(block for block in BLOCKS if block in wanted)


@pytest.mark.parametrize("plain", [True, False])
def test_the_denoisers_output_and_gradients_are_the_same_bit_for_bit(unet: Any, inputs: Inputs, plain: bool) -> None:
    if plain:
        unet.set_attn_processor(AttnProcessor())
    state = torch.random.get_rng_state()
    without = unet(*inputs).sample
    (expected,) = torch.autograd.grad(without.square().mean(), unet.conv_in.weight)
    torch.random.set_rng_state(state)
    with EnergyCap(unet) as cap:
        output = unet(*inputs).sample
        (gradient,) = torch.autograd.grad(output.square().mean() + 0 * cap.penalty(), unet.conv_in.weight)
    assert torch.equal(without, output)
    torch.testing.assert_close(gradient, expected)


def test_nothing_is_left_behind(unet: Any, inputs: Inputs) -> None:
    def hooks() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in unet.modules())

    before, processors = hooks(), unet.attn_processors
    with EnergyCap(unet):
        assert hooks() > before
    assert hooks() == before
    with pytest.raises(RuntimeError), EnergyCap(unet):
        unet(inputs[0][:, :1], *inputs[1:])
    assert hooks() == before
    assert unet.attn_processors == processors


def test_a_few_steps_lower_the_energy_and_leave_what_is_below_the_target(unet: Any, inputs: Inputs) -> None:
    unet.requires_grad_(False)
    weights = [weight for path, weight in unet.named_parameters() if "motion_modules" in path]
    for weight in weights:
        weight.requires_grad_(True)
    optimiser = torch.optim.Adam(weights, 3e-3)
    history = []
    with EnergyCap(unet, target=0.2, weight=1.0) as cap:
        for _ in range(12):
            unet(*inputs)
            penalty = cap.penalty()
            history.append({block: energy.item() for block, energy in cap.energies().items()})
            optimiser.zero_grad()
            penalty.backward()
            optimiser.step()
    first, last = history[0], history[-1]
    assert min(first.values()) > 0.5
    assert all(last[block] < first[block] for block in BLOCKS)
    assert sorted(last.values())[len(BLOCKS) // 2] < 0.25
    assert min(last.values()) > 1 / 8 + 0.02, "what is below the target is left where it is"


def test_a_target_that_is_kept_costs_nothing_and_pulls_at_nothing(unet: Any, inputs: Inputs) -> None:
    with EnergyCap(unet, target=1.0) as cap:
        unet(*inputs)
        penalty = cap.penalty()
    penalty.backward()
    assert penalty.item() == 0
    assert all(weight.grad is None or not weight.grad.any() for weight in unet.parameters())


def penalised(unet: Any, inputs: Inputs, *, autocast: bool = False) -> tuple[float, dict[str, Tensor]]:
    """The penalty and its gradients, by name of the weight."""
    unet.zero_grad()
    with EnergyCap(unet) as cap:
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            unet(*inputs)
        penalty = cap.penalty()
        penalty.backward()
    return penalty.item(), {name: one.grad.clone() for name, one in unet.named_parameters() if one.grad is not None}


def test_gradient_checkpointing_changes_nothing(unet: Any, inputs: Inputs) -> None:
    unet.train()
    expected, gradients = penalised(unet, inputs)
    unet.enable_gradient_checkpointing()
    found, checkpointed = penalised(unet, inputs)
    assert found == pytest.approx(expected, rel=1e-6)
    assert gradients.keys() <= checkpointed.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-6)


def test_reentrant_checkpointing_is_refused(unet: Any, inputs: Inputs) -> None:
    def reentrant(function: Any, *arguments: Any) -> Any:
        return checkpoint(function, *arguments, use_reentrant=True)

    unet.train()
    unet.enable_gradient_checkpointing(reentrant)
    with EnergyCap(unet) as cap:
        unet(*inputs)
        with pytest.raises(ByTheWayError, match=r"use_reentrant=False|No queries and keys"):
            cap.penalty()


def test_autocast_and_half_precision_differ_by_rounding_only(unet: Any, inputs: Inputs) -> None:
    expected, _ = penalised(unet, inputs)
    found, gradients = penalised(unet, inputs, autocast=True)
    assert found == pytest.approx(expected, rel=0.03)
    assert any(gradient.abs().max() > 0 for gradient in gradients.values())
    half = unet.to(torch.bfloat16)
    found, _ = penalised(half, (inputs[0].bfloat16(), inputs[1], inputs[2].bfloat16()))
    assert found == pytest.approx(expected, rel=0.05)


def test_only_the_last_forward_with_gradients_counts(unet: Any, inputs: Inputs) -> None:
    with EnergyCap(unet) as cap:
        with pytest.raises(ByTheWayError, match="call the denoiser inside the with statement"):
            cap.penalty()
        unet(*inputs)
        expected = cap.penalty()
        unet(inputs[0] * 3, *inputs[1:])
        other = cap.penalty()
        assert not torch.equal(expected, other)
        unet(*inputs)
        assert torch.equal(cap.penalty(), expected)
        with torch.no_grad():
            unet(*inputs)
        with pytest.raises(ByTheWayError, match="with gradients enabled"):
            cap.penalty()


def test_fused_projections_are_refused(unet: Any, inputs: Inputs) -> None:
    unet.fuse_qkv_projections()
    with EnergyCap(unet) as cap:
        unet(*inputs)
        with pytest.raises(ByTheWayError, match="its projections not fused"):
            cap.penalty()


def test_data_parallel_training_averages_the_penalty_too(unet: Any, inputs: Inputs, tmp_path: Any) -> None:
    class Objective(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet, self.cap = unet, EnergyCap(unet)

        def forward(self, *arguments: Tensor) -> Tensor:
            with self.cap:
                output = self.unet(*arguments).sample
            loss: Tensor = output.square().mean() + self.cap.penalty()
            return loss

    objective = Objective()
    objective(*inputs).backward()
    expected = {name: one.grad.clone() for name, one in unet.named_parameters() if one.grad is not None}
    unet.zero_grad()
    store = f"file://{tmp_path / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        DistributedDataParallel(objective)(*inputs).backward()
    finally:
        torch.distributed.destroy_process_group()
    for name, weight in unet.named_parameters():
        if name in expected:
            torch.testing.assert_close(weight.grad, expected[name])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"target": 0.0}, "target is 0, and energies lie between 0 and 1"),
        ({"target": float("nan")}, "target is nan"),
        ({"target": 1.5}, "target is 1.5"),
        ({"weight": -1.0}, "weight is -1; give 0 or more"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"blocks": "up_blocks.7"}, "blocks names up_blocks.7, which has no temporal attention; .* are down_blocks.0"),
        ({"blocks": []}, "blocks is empty"),
    ],
)
def test_bad_input(unet: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        EnergyCap(unet, **arguments)


def test_a_model_without_temporal_attention_is_refused() -> None:
    with pytest.raises(ByTheWayError, match="neither a video pipeline nor its denoiser"):
        EnergyCap(object())
    with pytest.raises(ByTheWayError, match="no video denoiser that bytheway knows"):
        EnergyCap(nn.Linear(2, 2))


def test_a_cap_is_entered_once_at_a_time(unet: Any) -> None:
    cap = EnergyCap(unet)
    with cap, pytest.raises(ByTheWayError, match="in use already"):
        cap.__enter__()
    with cap:
        pass
