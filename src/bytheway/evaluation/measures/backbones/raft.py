"""RAFT (Teed and Deng, ECCV 2020), by torchvision: RAFT-large with the authors' weights "things"."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import torch
from torch import Tensor

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.correlation import BoundedCorrelation, volume_bytes
from bytheway.evaluation.measures.backbones.importing import torchvision_flow
from bytheway.evaluation.measures.backbones.weights import described, placed, said_of
from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement
from bytheway.evaluation.measures.prepare import padded, resized
from bytheway.files import sha256_of
from bytheway.models.checkpoints import read_tensors
from bytheway.models.sources import existing_path, reading

NAME: Final = "RAFT-large"
UPDATES: Final = 20
_THINGS: Final = "fcfa4125d6418f4de95d84aec20a3c5f4e205101715a79f193243c186ac9a7e1"
"""The SHA-256 of the authors' raft-things.pth."""
_MULTIPLE: Final = 8
_SMALLEST: Final = 128
_LARGEST_VOLUME: Final = 2**31
"""Bytes of correlations that are kept at once; beyond, they are computed where they are looked up."""


class Raft:
    """A RAFT of torchvision as a flow.

    Args:
        network: the network, with its weights.
        backbone: what it is.
        placement: where it computes.
        remarks: on its weights.
    """

    backbone: Backbone
    placement: Placement

    def __init__(self, network: Any, backbone: Backbone, placement: Placement, remarks: tuple[str, ...] = ()) -> None:
        self._network, self.backbone, self.placement = placed(network, placement), backbone, placement
        self._correlation = network.corr_block
        self.remarks = remarks

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        height, width = first.shape[-2:]
        factor = self.enlargement(height, width)
        size = (height * factor, width * factor)
        pair = [padded(resized(2 * (some / 255) - 1, size, "bilinear"), _MULTIPLE) for some in (first, second)]
        bounded = volume_bytes(pair[0]) > _LARGEST_VOLUME
        self._network.corr_block = BoundedCorrelation(self._correlation) if bounded else self._correlation
        flow: Tensor = self._network(*pair, num_flow_updates=UPDATES)[-1]
        return flow / factor

    def enlargement(self, height: int, width: int) -> int:
        """The smallest whole factor that makes both sides, padded, 128 pixels: what RAFT's pyramid needs."""
        side = min(-(-side // _MULTIPLE) * _MULTIPLE for side in (height, width))
        return 1 if side >= _SMALLEST else -(-_SMALLEST // min(height, width))


def load_raft(placement: Placement, file: str | os.PathLike[str] | None = None, offline: bool = False) -> Raft:
    """RAFT-large with the weights C_T_V1 of torchvision, which are the authors' "things".

    A file of another of torchvision's trainings has the name of that.

    Args:
        placement: where it computes.
        file: of the weights, in torchvision's names or the authors'; by default from torch's cache, or fetched to it
            once, with a progress bar.
        offline: fetch nothing.

    Raises:
        ByTheWayError: there is no torchvision that works, or the weights cannot be had.
    """
    flow = torchvision_flow()
    network = flow.raft_large()
    path = _fetched(flow.Raft_Large_Weights.C_T_V1.url, offline) if file is None else existing_path(str(file))
    if path is None or not path.is_file():
        raise ByTheWayError(f"There is no file {file} with the weights of {NAME}.")
    with reading(path):
        network.load_state_dict(torchvision_names(read_tensors(path)))
    backbone = described(NAME, "torchvision, C_T_V1" if file is None else str(file), path, placement)
    if file is None or backbone.sha256 == _THINGS:
        return Raft(network, backbone, placement)
    training = _training(flow.Raft_Large_Weights, str(backbone.sha256))
    if training not in (None, "C_T_V1"):
        return Raft(network, replace(backbone, name=f"{NAME} {training}"), placement)
    return Raft(network, backbone, placement, () if training else said_of(backbone, NAME, file))


def _training(published: Any, sha256: str) -> str | None:
    """Which of torchvision's trainings a file is; the ends of their names are the beginnings of their hashes."""
    return next((one.name for one in published if sha256.startswith(_begins(one.url))), None)


def _begins(url: str) -> str:
    return Path(urlsplit(url).path).stem.rpartition("-")[2]


def _fetched(url: str, offline: bool) -> Path:
    """torchvision's file of weights, in torch's cache; the end of its name is the beginning of its hash."""
    file = Path(urlsplit(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    begins = _begins(url)
    if not path.is_file():
        if offline:
            raise ByTheWayError(
                f"The weights of {NAME} are not on this machine ({path}), and nothing is fetched offline; fetch them "
                "once with the network, or give the file."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=begins)
        except (OSError, RuntimeError) as error:
            raise ByTheWayError(
                f"The weights of {NAME} are not on this machine and cannot be fetched ({error}); check the network, or "
                "give the file."
            ) from error
    elif not sha256_of(path).startswith(begins):
        raise ByTheWayError(f"The weights of {NAME} in {path} are damaged; remove the file and fetch it again.")
    return path


_INPUTS: Final = {"c": "convcorr", "f": "convflow"}
# From the authors' names to torchvision's, one after the other.
_NAMES: Final = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(feature|context)_encoder\.conv1\.", r"\1_encoder.convnormrelu.0."),
    (r"^(feature|context)_encoder\.norm1\.", r"\1_encoder.convnormrelu.1."),
    (r"^(feature|context)_encoder\.conv2\.", r"\1_encoder.conv."),
    (r"\.(layer\d\.\d)\.conv(\d)\.", r".\1.convnormrelu\2.0."),
    (r"\.(layer\d\.\d)\.norm(\d)\.", r".\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.conv([cf])(\d)\.", lambda m: f"update_block.motion_encoder.{_INPUTS[m[1]]}{m[2]}.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)


def torchvision_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of RAFT-large by torchvision's names, whichever they have."""
    renamed = {}
    for name, tensor in tensors.items():
        # The norm of a shortcut is there twice, as norm3 too.
        if re.search(r"^[fc]net\.layer\d\.\d\.norm3\.", name):
            continue
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed
