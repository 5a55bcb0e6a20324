"""What is used of a diffusers pipeline, as a type. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import nn


class VideoPipeline(Protocol):
    """What every pipeline of diffusers has, whatever its class; its call and its parts are its class's own.

    It is a protocol so that importing it does not wait for diffusers, whose pipelines need not know of it. mypy takes
    what `from diffusers import` gives for the empty placeholders that stand first there, which have no call either; it
    knows a pipeline that is imported from its own module, such as
    `diffusers.pipelines.animatediff.pipeline_animatediff`.
    """

    @property
    def config(self) -> Mapping[str, Any]:
        """Its settings, and with `_name_or_path` where it was loaded from."""

    @property
    def components(self) -> dict[str, Any]:
        """The parts that it is made of, by name."""

    @property
    def device(self) -> torch.device:
        """Where its parts are."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its parts."""

    @property
    def _execution_device(self) -> torch.device:
        """Where it computes; under offloading that is not where its parts wait."""

    def set_progress_bar_config(self, **settings: Any) -> None:
        """Settings of the bar that it draws of its steps."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make clips; `frames` of what is returned holds them."""

    def __getattr__(self, name: str) -> Any:
        """A part by its name, such as `scheduler`, or what only some pipelines have, such as `enable_free_init`."""


# What the method is put on: a pipeline, or the denoiser of a loop of one's own.
Model: TypeAlias = "VideoPipeline | nn.Module"
