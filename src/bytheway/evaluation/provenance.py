"""Which weights clips were made with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def fingerprint(components: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of a digest of all the weights of a pipeline, and of its scheduler's config.

    Args:
        components: of the pipeline, by name.
    """
    config = components["scheduler"].config
    schedule = sorted((name, value) for name, value in config.items() if not name.startswith("_"))
    digest = hashlib.sha256(json.dumps(schedule).encode())
    for module in (part for _, part in sorted(components.items()) if isinstance(part, nn.Module)):
        for _, tensor in sorted(module.state_dict().items()):
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
