"""What a denoiser is called with, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from torch import Tensor, nn


def arguments_of_call(denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What the denoiser is called with, by the names in its forward, in their order there.

    What its forward takes as *args goes by its place ("args[0]"), what it takes as **kwargs by its own name.
    """
    signature = _signature(type(denoiser).forward)
    named: dict[str, Any] = {}
    for name, given in signature.bind(denoiser, *args, **kwargs).arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}[{place}]": one for place, one in enumerate(given)}
        else:
            named |= given if kind is inspect.Parameter.VAR_KEYWORD else {name: given}
    _, *arguments = named.items()
    return dict(arguments)


def sample_of(arguments: Mapping[str, Any]) -> Tensor:
    """The first argument, batch outermost."""
    sample: Tensor = next(iter(arguments.values()))
    return sample


def timestep_of(arguments: Mapping[str, Any]) -> Tensor | float:
    """The argument that is named timestep, or else the second."""
    _, second, *_ = arguments.values()
    timestep: Tensor | float = arguments.get("timestep", second)
    return timestep


@lru_cache(maxsize=16)
def _signature(forward: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(forward)
