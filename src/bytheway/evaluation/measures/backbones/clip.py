"""CLIP's image towers (Radford et al., ICML 2021), by transformers."""

from __future__ import annotations

import os
from typing import Any, Final

from torch import Tensor

from bytheway.evaluation.measures.backbones.importing import transformers
from bytheway.evaluation.measures.backbones.weights import described, load_model, placed
from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement

REPOSITORIES: Final = {
    "CLIP ViT-B/32": "openai/clip-vit-base-patch32",
    "CLIP ViT-L/14": "openai/clip-vit-large-patch14",
}
_SHAPES: Final = {"CLIP ViT-B/32": (768, 12, 12, 32), "CLIP ViT-L/14": (1024, 24, 16, 14)}


class Clip:
    """The image tower of a CLIP with its projection.

    Args:
        name: which, of `REPOSITORIES`.
        placement: where it computes.
        folder: of its weights; by default the hub's.
        offline: fetch nothing.

    Raises:
        ByTheWayError: its weights cannot be had.
    """

    backbone: Backbone
    placement: Placement

    def __init__(
        self, name: str, placement: Placement, folder: str | os.PathLike[str] | None = None, offline: bool = False
    ) -> None:
        kind = transformers().CLIPVisionModelWithProjection
        model, weights = load_model(kind, name, REPOSITORIES[name], folder, offline)
        self.placement = placement
        self._model: Any = placed(model, placement)
        config = self._model.config
        shape = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.patch_size)
        known = name if shape == _SHAPES[name] else weights.parent.name
        self.backbone = described(known, str(folder or REPOSITORIES[name]), weights, placement)

    def __call__(self, pixels: Tensor) -> Tensor:
        """The projected image embeddings, (n, channels), of normalised pictures (n, 3, 224, 224)."""
        with self.placement.computing():
            embeddings: Tensor = self._model(pixel_values=pixels).image_embeds
        return embeddings.float()
