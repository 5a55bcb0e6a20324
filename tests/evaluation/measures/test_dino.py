"""DINO's table of positions for frames of other shapes."""

import torch
from torch.nn import functional as F

from bytheway.evaluation.measures.backbones.dino import Dino, positions
from tests.evaluation.measures.goldens import needs_goldens


def test_positions_at_the_size_they_were_learnt_at_are_the_table() -> None:
    table = torch.rand(1, 197, 8)
    assert positions(table, 14, 14) is table


def test_positions_are_resampled_by_factors_a_little_too_large() -> None:
    table = torch.rand(1, 197, 8, generator=torch.Generator().manual_seed(0))
    found = positions(table, 14, 22)
    assert found.shape == (1, 1 + 14 * 22, 8)
    assert torch.equal(found[:, 0], table[:, 0])
    grid = table[:, 1:].view(1, 14, 14, 8).permute(0, 3, 1, 2)
    by_size = F.interpolate(grid, size=(14, 22), mode="bicubic", align_corners=False)
    by_factor = F.interpolate(grid, scale_factor=(14.1 / 14, 22.1 / 14), mode="bicubic", align_corners=False)
    assert torch.equal(found[0, 1:].T.view(8, 14, 22), by_factor[0])
    assert (found[0, 1:].T.view(8, 14, 22) - by_size[0]).abs().max() > 1e-3


@needs_goldens
def test_columns_that_fill_no_patch_are_dropped(dino: Dino) -> None:
    pixels = torch.rand(1, 3, 224, 358, generator=torch.Generator().manual_seed(0))
    other = pixels.clone()
    other[..., 352:] = 5.0
    assert torch.equal(dino(pixels), dino(other))
    other[..., 351] = 5.0
    assert not torch.equal(dino(pixels), dino(other))


@needs_goldens
def test_the_epsilon_is_the_authors_whatever_the_configuration_says(dino: Dino) -> None:
    assert {layer.layernorm_before.eps for layer in dino._model.layers} == {1e-6}
