"""DINO's vision transformer (Caron et al., ICCV 2021), by transformers."""

from __future__ import annotations

import os
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway.evaluation.measures.backbones.importing import transformers
from bytheway.evaluation.measures.backbones.weights import Published, load_model, said_of
from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement

DINO: Final = Published("DINO ViT-B/16", "facebook/dino-vitb16", (768, 12, 12, 16))


class Dino:
    """DINO with its own table of positions.

    Args:
        placement: where it computes.
        folder: of its weights; by default the hub's.
        offline: fetch nothing.

    Raises:
        ByTheWayError: its weights cannot be had.
    """

    backbone: Backbone
    placement: Placement

    def __init__(
        self, placement: Placement, folder: str | os.PathLike[str] | None = None, offline: bool = False
    ) -> None:
        # The authors' epsilon; configurations of conversions have ViT's.
        self._model, self.backbone = load_model(
            transformers().ViTModel, DINO, placement, folder, offline, add_pooling_layer=False, layer_norm_eps=1e-6
        )
        self.placement = placement
        self.remarks = said_of(self.backbone, DINO.name, folder)
        embeddings, side = self._model.embeddings, self._model.config.patch_size
        embeddings.interpolate_pos_encoding = lambda _, height, width: positions(
            embeddings.position_embeddings, height // side, width // side
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """The class token after the last norm, (n, channels), of normalised pictures (n, 3, height, width)."""
        with self.placement.computing():
            features: Tensor = self._model(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
        return features.float()


def positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """DINO's table of positions (1, 1 + side², channels) for so many patches.

    The authors resample it by factors a little too large, (rows + 0.1) / side, and so it is another than what
    transformers makes by the size.
    """
    side = round((table.shape[1] - 1) ** 0.5)
    if rows == columns == side:
        return table
    grid = table[:, 1:].unflatten(1, (side, side)).movedim(-1, 1)
    factors = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = F.interpolate(grid, scale_factor=factors, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], 1)
