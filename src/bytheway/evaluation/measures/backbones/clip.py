"""CLIP's image towers (Radford et al., ICML 2021), by transformers."""

from __future__ import annotations

import os
from typing import Final

from torch import Tensor

from bytheway.evaluation.measures.backbones.importing import transformers
from bytheway.evaluation.measures.backbones.weights import Published, load_model, said_of
from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement

VIT_B: Final = Published("CLIP ViT-B/32", "openai/clip-vit-base-patch32", (768, 12, 12, 32))
VIT_L: Final = Published("CLIP ViT-L/14", "openai/clip-vit-large-patch14", (1024, 24, 16, 14))


class Clip:
    """The image tower of a CLIP with its projection.

    Args:
        which: `VIT_B` or `VIT_L`.
        placement: where it computes.
        folder: of its weights; by default the hub's.
        offline: fetch nothing.

    Raises:
        ByTheWayError: its weights cannot be had.
    """

    backbone: Backbone
    placement: Placement

    def __init__(
        self,
        which: Published,
        placement: Placement,
        folder: str | os.PathLike[str] | None = None,
        offline: bool = False,
    ) -> None:
        kind = transformers().CLIPVisionModelWithProjection
        self._model, self.backbone = load_model(kind, which, placement, folder, offline)
        self.placement = placement
        self.remarks = said_of(self.backbone, which.name, folder)

    def __call__(self, pixels: Tensor) -> Tensor:
        """The projected image embeddings, (n, channels), of normalised pictures (n, 3, 224, 224)."""
        with self.placement.computing():
            embeddings: Tensor = self._model(pixel_values=pixels).image_embeds
        return embeddings.float()
