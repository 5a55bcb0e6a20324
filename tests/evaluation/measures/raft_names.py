"""RAFT's tensors by the authors' names, told apart from what the package knows of them."""

from __future__ import annotations

import re

from torch import Tensor, nn

from tests.evaluation.measures.goldens import seeded

_BACK = (
    (r"^(feature|context)_encoder\.", lambda m: {"feature": "fnet.", "context": "cnet."}[m[1]]),
    (r"^(.net)\.convnormrelu\.0\.", r"\1.conv1."),
    (r"^(.net)\.convnormrelu\.1\.", r"\1.norm1."),
    (r"^(.net)\.conv\.", r"\1.conv2."),
    (r"\.convnormrelu(\d)\.0\.", r".conv\1."),
    (r"\.convnormrelu(\d)\.1\.", r".norm\1."),
    (r"motion_encoder\.conv(corr|flow)(\d)\.0\.", lambda m: f"encoder.conv{m[1][0]}{m[2]}."),
    (r"motion_encoder\.conv\.0\.", "encoder.conv."),
    (r"recurrent_block\.convgru(\d)\.conv(.)\.", r"gru.conv\2\1."),
    (r"^mask_predictor\.convrelu\.0\.", "update_block.mask.0."),
    (r"^mask_predictor\.conv\.", "update_block.mask.2."),
)


def authors_name(name: str, small: bool) -> str:
    """The authors' name of a tensor of torchvision's; of a shortcut's norm that under which it was made."""
    for pattern, replacement in _BACK:
        name = re.sub(pattern, replacement, name)
    if small:
        name = re.sub(r"gru\.conv(.)1\.", r"gru.conv\1.", name)
    return name.replace("downsample.1.", "norm4." if small else "norm3.")


def authors_tensors(network: nn.Module, small: bool) -> dict[str, Tensor]:
    """The seeded tensors of a network of torchvision, by its own names."""
    weights = "raft-small" if small else "raft-large"
    return {
        name: seeded(weights, authors_name(name, small), tensor.shape) for name, tensor in network.state_dict().items()
    }
