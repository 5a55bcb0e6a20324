"""Fused kernels, each held against `bytheway.method`; they are imported where they are first used.

The Triton kernels have been run in Triton's interpreter only, which shows that they are right and nothing of their
speed; for NVIDIA GPUs they have been compiled. On a GPU their first use is held against whole maps (`triton.trial`).
"""

import os
import subprocess
import warnings
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from bytheway.errors import ByTheWayWarning

MAX_FRAMES = 64
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def supports(query: Tensor, key: Tensor, value: Tensor, anchor_map: Tensor) -> bool:
    """Whether `guided` can attend to a guided site: an NVIDIA GPU from Ampere on, and Triton on it.

    With TRITON_INTERPRET=1 in the environment it is the interpreter that runs, on the CPU as well. No gradient flows
    through the kernels.

    Args:
        query, key, value: (rows, heads, F, channels of a head).
        anchor_map: (anchor rows, anchor heads, F, F).
    """
    tensors = query, key, value, anchor_map
    return (
        query.shape[2] <= MAX_FRAMES
        and query.dtype == key.dtype
        and all(tensor.dtype in _DTYPES and tensor.stride(-1) == 1 for tensor in tensors)
        and anchor_map.stride(-2) == anchor_map.shape[-1]
        and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
        and _runs_on(query.device)
    )


@lru_cache(maxsize=32)
def _runs_on(device: torch.device) -> bool:
    """Whether Triton runs on a device."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not interpreted and (
        device.type != "cuda" or torch.version.hip or torch.cuda.get_device_capability(device) < (8, 0)
    ):
        return False
    return find_spec("triton") is not None and (interpreted or _reaches_gpu())


def _reaches_gpu() -> bool:
    """Whether Triton is in working order. It builds an extension to reach the GPU, for which it needs a C compiler."""
    try:
        from triton.runtime import driver

        driver.active.get_current_device()
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        warnings.warn(
            f"Attention is slower than it could be, because Triton does not work: {error}",
            ByTheWayWarning,
            stacklevel=2,
        )
        return False
    return True
