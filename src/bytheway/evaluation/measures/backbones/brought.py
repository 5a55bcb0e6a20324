"""Networks that a user brings: a callable, or a TorchScript file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.weights import described, placed
from bytheway.evaluation.measures.measure import Backbone, Direction
from bytheway.evaluation.measures.placement import Placement
from bytheway.models.sources import existing_path, reading


@dataclass(frozen=True)
class Brought:
    """A network of the user's, for a measure.

    What it is called with, and answers, is the measure's: an interpolator for "motion_smoothness" is given two batches
    of frames (n, 3, height, width) in [0, 1] and answers with the frames between them; "imaging_quality" and measures
    of other names give frames (n, 3, height, width) in [0, 1] and are answered with scores (n,); "overall_consistency"
    gives 8 pictures (8, 3, 224, 224), normalised as CLIP's, and the prompt, and is answered with a cosine.

    Attributes:
        network: a callable on tensors, or a TorchScript file.
        name: of the network. A measurement is called VBench's only under the name of VBench's own: "AMT-S", "MUSIQ" or
            "ViCLIP". By default that of the callable or file.
        unit: of the scores of a measure of another name.
        direction: which of them are better; None where neither is.
    """

    network: Callable[..., Any] | str | os.PathLike[str]
    name: str | None = None
    unit: str = ""
    direction: Direction | None = "higher"


class BroughtNetwork:
    """A network that a user brought, where it computes.

    Args:
        brought: the network.
        placement: where it computes; a callable that is no module of torch has to be there already.

    Raises:
        ByTheWayError: there is no such file, or it holds no TorchScript.
    """

    backbone: Backbone
    placement: Placement

    def __init__(self, brought: Brought, placement: Placement) -> None:
        self.placement = placement
        if callable(brought.network):
            module = brought.network
            self._network = placed(module, placement) if isinstance(module, nn.Module) else module
            name = getattr(module, "__qualname__", type(module).__qualname__)
            self.backbone = Backbone(brought.name or name, name, None, placement.precision)
            return
        path = existing_path(str(brought.network))
        if path is None or not path.is_file():
            raise ByTheWayError(f"There is no TorchScript file {brought.network}.")
        self._network = _script(path, placement)
        self.backbone = described(brought.name or path.stem, str(path), path, placement)

    def __call__(self, *inputs: Any) -> Tensor:
        with self.placement.computing():
            return torch.as_tensor(self._network(*inputs)).float()


def _script(path: Path, placement: Placement) -> nn.Module:
    with reading(path), warnings.catch_warnings():
        # Torch would have others use another format; this one runs nothing but networks.
        warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", DeprecationWarning)
        try:
            script: nn.Module = torch.jit.load(str(path), map_location=placement.device)
        except RuntimeError as error:
            raise ByTheWayError(f"{path} holds no TorchScript; save the network with torch.jit.save.") from error
    return script.eval()
