"""The figures of the attention alone: each block of a case, and curves against frames, pixels and videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

import torch

from benchmarks.cases import QUICK, Block, Case
from benchmarks.columns import OURS, VANILLA
from benchmarks.core import Forms, forms, joint_forms
from benchmarks.profiling import Operator, profiled
from benchmarks.results import Measurement
from benchmarks.timing import interleave, seconds_of
from bytheway.attention.layout import VideoTokens
from bytheway.families.known import presets

PRECISIONS: Final = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float16, torch.float32)}
ROUNDS: Final = 21
SECONDS: Final = 3.0
LISTED: Final = 4
# The widths of the block whose curves are drawn: the last of Stable Diffusion 1.5, where the maps are most.
CHANNELS, HEADS = 320, 8


# Figure, name and forms of one attention.
Site = tuple[str, str, Forms]


class Point(NamedTuple):
    """One point of a curve."""

    curve: str
    x: int
    latents: int
    frames: int
    videos: int

    def __str__(self) -> str:
        return f"{self.frames} frames, {self.latents}x{self.latents}, {self.videos} videos"


def measure_blocks(case: Case, device: torch.device, quick: bool) -> tuple[list[Measurement], list[str]]:
    """The attention of each block against `scaled_dot_product_attention`.

    In words: what the first block, which is the anchor, and the last, whose maps are most, spend their time on.
    """
    rows, words = [], []
    for dtype in PRECISIONS[device.type]:
        make = _joint_site if case.joint else _temporal_sites
        sites = list(make(case, dtype, device, quick))
        for figure, what, made in sites:
            rows.append(Measurement(figure, f"{what}, {_name(dtype)}", "ms", _timed(made, device, quick)))
        for _, what, made in sites[:: max(len(sites) - 1, 1)]:
            for column in (OURS, VANILLA):
                words.append(f"{what}, {_name(dtype)}, {column}: {_shares(made, column, device)}.")
    return rows, words


def _temporal_sites(case: Case, dtype: torch.dtype, device: torch.device, quick: bool) -> Iterator[Site]:
    blocks = [_smaller(block) for block in case.blocks] if quick else case.blocks
    config = presets()[case.preset].config
    yield "anchor", str(blocks[0]), forms(blocks[0], None, config, dtype, device)
    for block in blocks[1:]:
        yield "guided", str(block), forms(block, blocks[0], config, dtype, device)


def _joint_site(case: Case, dtype: torch.dtype, device: torch.device, quick: bool) -> Iterator[Site]:
    """CogVideoX: four frames in a latent one, 8 pixels in a latent one, patches of 2x2, 64 channels a head."""
    scale = case.scales[QUICK if quick else device.type]
    height, width = scale.size
    video = VideoTokens(226, (scale.frames - 1) // 4 + 1, (height // 16) * (width // 16))
    heads = scale.widths[0]
    what = f"joint attention, {video.frames} latent frames of {video.per_frame} tokens, {64 * heads} channels"
    yield "joint", what, joint_forms(video, heads, 64 * heads, presets()[case.preset].config, dtype, device)


def measure_curves(device: torch.device, quick: bool) -> list[Measurement]:
    """The attention of a guided site over frames, pixels and videos."""
    dtype = PRECISIONS[device.type][0]
    rows = []
    for point in _points(quick):
        block = Block("guided", (point.latents,) * 2, CHANNELS, HEADS)
        anchor = replace(block, size=(point.latents // 4,) * 2)
        with torch.no_grad():
            made = forms(block, anchor, presets()["animatediff"].config, dtype, device, point.frames, point.videos)
        rows.append(Measurement(point.curve, f"{point}, {_name(dtype)}", "ms", _timed(made, device, quick), point.x))
    return rows


def _points(quick: bool) -> Iterator[Point]:
    frames, pixels, videos = (
        ((8, 16), (64, 128), (1, 2)) if quick else ((8, 16, 24, 32, 48, 64), (256, 512, 768, 1024), (1, 2, 4, 8))
    )
    latents = 8 if quick else 32
    yield from (Point("frames", count, latents, count, 1) for count in frames)
    yield from (Point("pixels", width, width // 8, 16, 1) for width in pixels)
    yield from (Point("videos", count, latents, 16, count) for count in videos)


@torch.no_grad()
def _timed(made: Forms, device: torch.device, quick: bool) -> dict[str, list[float]]:
    for form in made.values():
        form()
    columns = {name: partial(seconds_of, form, device) for name, form in made.items()}
    timed = interleave(columns, 1 if quick else ROUNDS, SECONDS)
    return {name: [1000 * value for value in values] for name, values in timed.items()}


@torch.no_grad()
def _shares(made: Forms, column: str, device: torch.device) -> str:
    """The operators that a form spends most of its time in, by torch's profiler."""
    operators = profiled(made[column], device).operators
    whole = sum(operator.milliseconds for operator in operators.values())
    most = sorted(operators.items(), key=lambda found: -found[1].milliseconds)[:LISTED]
    return ", ".join(f"`{name}` {_share(operator, whole)}" for name, operator in most)


def _share(operator: Operator, whole: float) -> str:
    return f"{operator.milliseconds / whole:.0%} ({operator.milliseconds:.2f} ms)"


def _smaller(block: Block) -> Block:
    """An eighth of the width and height, for the quick form."""
    height, width = block.size
    return replace(block, size=(max(height // 8, 1), max(width // 8, 1)))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
