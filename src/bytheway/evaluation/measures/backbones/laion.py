"""LAION's linear aesthetic predictor, which is in the package with its licence (MIT)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from torch import Tensor

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.measure import Backbone
from bytheway.files import sha256_of
from bytheway.models.checkpoints import read_tensors

NAME: Final = "LAION aesthetic head"
_SHA256: Final = "fb247dd28e4f3731e62baeb049dc8ed587dd2f98f5b7f85f0db4ef611ff5ec34"


@dataclass(frozen=True)
class Head:
    """The predictor for CLIP ViT-L/14 (`sa_0_4_vit_l_14_linear` of LAION-AI/aesthetic-predictor).

    Attributes:
        weight: (1, 768).
        bias: (1,).
        backbone: what it is.
    """

    weight: Tensor
    bias: Tensor
    backbone: Backbone


def load_head() -> Head:
    """The predictor that is in the package.

    Raises:
        ByTheWayError: the installation lacks it, or has another.
    """
    path = Path(str(files("bytheway.evaluation.measures"))) / "laion" / "sa_0_4_vit_l_14_linear.safetensors"
    if not path.is_file() or sha256_of(path) != _SHA256:
        raise ByTheWayError(f"The weights of the {NAME} are missing or damaged ({path}); install the package again.")
    tensors = read_tensors(path)
    return Head(tensors["weight"], tensors["bias"], Backbone(NAME, "in the package", _SHA256))
