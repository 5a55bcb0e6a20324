"""What is measured: the models, their scales on each kind of machine, and the attention of their blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import torch

from benchmarks.columns import FREE_INIT, IDLE, OURS, PLAIN, VANILLA
from benchmarks.models import (
    Scale,
    Subject,
    make_animatediff,
    make_cogvideox,
    make_diorama,
    make_videocrafter,
)

QUICK: Final = "quick"
RUN_STEPS: Final = 25


class Model(StrEnum):
    """What can be asked for."""

    DIORAMA = "diorama"
    ANIMATEDIFF = "animatediff"
    VIDEOCRAFTER2 = "videocrafter2"
    COGVIDEOX = "cogvideox"


@dataclass(frozen=True)
class Block:
    """The temporal attention of one block, at the size at which the model was published.

    Attributes:
        name: such as "up_blocks.1"; the first of a case is the anchor.
        size: height and width of the feature maps.
    """

    name: str
    size: tuple[int, int]
    channels: int
    heads: int

    def __str__(self) -> str:
        height, width = self.size
        return f"{self.name}, {height}x{width}, {self.channels} channels, {self.heads} heads"


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        title: in a few words.
        make: the pipeline at a scale.
        scales: by "cpu", "cuda" and "quick" (a CPU, in seconds).
        columns: what is compared, see `benchmarks.columns`.
        missing: columns that cannot be, with the reason.
        preset: of the method's settings, see `bytheway.families.known.presets`.
        blocks: whose attention is timed by itself.
        joint: the attention is joint over space and time, and is timed by itself at the scale of the case.
        curves: the attention by itself is timed over frames, pixels and videos too.
    """

    title: str
    make: Callable[[Scale, torch.device], Subject]
    scales: Mapping[str, Scale]
    columns: tuple[str, ...]
    preset: str
    missing: Mapping[str, str] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    joint: bool = False
    curves: bool = False


_SD15: Final = (320, 640, 1280, 1280)
_TINY: Final = (32, 64, 64, 64)
_BF16, _FP16, _FP32 = torch.bfloat16, torch.float16, torch.float32

CASES: Final[Mapping[Model, Case]] = {
    Model.DIORAMA: Case(
        title="diorama as shipped",
        make=make_diorama,
        scales={
            "cpu": Scale((64, 64), 16, _FP32, (), RUN_STEPS, 15, 240),
            "cuda": Scale((64, 64), 16, _FP32, (), RUN_STEPS, 15, 120),
            QUICK: Scale((64, 64), 16, _FP32, (), 5, 1, 0),
        },
        columns=(VANILLA, OURS, PLAIN, FREE_INIT),
        preset="diorama",
        blocks=(
            Block("up_blocks.0", (2, 2), 144, 4),
            Block("up_blocks.1", (4, 4), 96, 4),
            Block("up_blocks.2", (8, 8), 64, 4),
        ),
    ),
    Model.ANIMATEDIFF: Case(
        title="AnimateDiff, Stable Diffusion 1.5's widths",
        make=make_animatediff,
        scales={
            "cpu": Scale((192, 192), 16, _BF16, _SD15, 1, 5, 120),
            "cuda": Scale((512, 512), 16, _FP16, _SD15, RUN_STEPS, 5, 240),
            QUICK: Scale((64, 64), 8, _FP32, _TINY, 1, 1, 0),
        },
        columns=(VANILLA, OURS, IDLE, PLAIN, FREE_INIT),
        preset="animatediff",
        blocks=(
            Block("up_blocks.1", (16, 16), 1280, 8),
            Block("up_blocks.2", (32, 32), 640, 8),
            Block("up_blocks.3", (64, 64), 320, 8),
        ),
        curves=True,
    ),
    Model.VIDEOCRAFTER2: Case(
        title="VideoCrafter2's UNet",
        make=make_videocrafter,
        scales={
            "cpu": Scale((64, 128), 16, _BF16, _SD15, 1, 12, 240),
            "cuda": Scale((320, 512), 16, _FP16, _SD15, RUN_STEPS, 5, 180),
            QUICK: Scale((64, 64), 8, _FP32, (64, 64, 64, 64), 1, 1, 0),
        },
        columns=(VANILLA, OURS, IDLE, PLAIN),
        preset="videocrafter2",
        missing={FREE_INIT: "diffusers has FreeInit for AnimateDiff pipelines only"},
        blocks=(
            Block("up_blocks.1", (10, 16), 1280, 20),
            Block("up_blocks.2", (20, 32), 640, 10),
            Block("up_blocks.3", (40, 64), 320, 5),
        ),
    ),
    Model.COGVIDEOX: Case(
        title="CogVideoX-2B's widths, fewer layers (joint attention, filtered values)",
        make=make_cogvideox,
        scales={
            "cpu": Scale((128, 128), 49, _BF16, (30, 4), 1, 15, 120),
            "cuda": Scale((240, 352), 49, _FP16, (30, 4), RUN_STEPS, 5, 120),
            QUICK: Scale((64, 64), 9, _FP32, (2, 2), 1, 1, 0),
        },
        columns=(VANILLA, OURS, IDLE, PLAIN),
        preset="cogvideox",
        joint=True,
        missing={FREE_INIT: "diffusers has FreeInit for AnimateDiff pipelines only"},
    ),
}
