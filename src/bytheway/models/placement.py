"""Where a pipeline runs and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bytheway.errors import ByTheWayError

if TYPE_CHECKING:
    import torch

_DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "float16": "float16",
    "fp16": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
}


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or the fastest one this machine has (CUDA, then Apple's MPS, then the CPU).

    Raises:
        ByTheWayError: `device` names no device, or one that this machine does not have.
    """
    import torch

    if device is None:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ByTheWayError(f"{device!r} is no device; give one such as cpu, cuda, cuda:1 or mps.") from None
    if chosen.type == "cpu":
        return chosen
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or chosen.type != accelerator.type:
        has = "only the CPU" if accelerator is None else f"the CPU and {accelerator.type}"
        raise ByTheWayError(f"There is no {chosen.type} device for this installation of torch, which sees {has}.")
    count = torch.accelerator.device_count()
    if chosen.index is not None and chosen.index >= count:
        raise ByTheWayError(f"There is no device {chosen}: this machine has {count} of type {chosen.type}.")
    return chosen


def resolve_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The precision asked for; by default float16 on CUDA and float32 elsewhere.

    Raises:
        ByTheWayError: `dtype` is none of float32, float16 and bfloat16 (or fp32, fp16, bf16).
    """
    import torch

    if dtype is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise ByTheWayError(f"{name!r} is no precision to run a model in; give float32, float16 or bfloat16.")
    chosen: torch.dtype = getattr(torch, _DTYPES[name])
    return chosen
