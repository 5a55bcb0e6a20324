"""Why frames came out that are no numbers, as far as it can be seen on the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bytheway.clips.frames import NotFiniteError
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline

if TYPE_CHECKING:
    from torch import Tensor


def explained(error: NotFiniteError, pipe: VideoPipeline) -> ByTheWayError:
    """The error with what else is not finite: weights, the scheduler's noise; else the precision, if it is a half."""
    import torch

    for owner, name, tensor in _tensors(pipe):
        if tensor.is_floating_point() and not tensor.is_meta and not torch.isfinite(tensor.float()).all():
            return ByTheWayError(f"{error.what}, for so does {name} of the {owner}; mend or replace its file.")
    if pipe.dtype in (torch.float16, torch.bfloat16):
        name = str(pipe.dtype).removeprefix("torch.")
        return ByTheWayError(f"{error.what}; {name} is a half precision, so try float32.", setting="dtype")
    return ByTheWayError(
        f"{error.what}, although all weights are finite; lower what amplifies: guidance_scale, beta or a LoRA's weight."
    )


def _tensors(pipe: VideoPipeline) -> Iterator[tuple[str, str, Tensor]]:
    """What a pipeline computes with, by its component and its name in that."""
    import torch

    for owner, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            named = {**dict(component.named_parameters()), **dict(component.named_buffers())}
        else:
            attributes = getattr(component, "__dict__", {})
            named = {name: attributes[name] for name in ("betas", "alphas_cumprod") if name in attributes}
        yield from ((owner, name, tensor) for name, tensor in named.items() if isinstance(tensor, torch.Tensor))
