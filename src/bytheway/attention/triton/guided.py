# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Guided temporal attention in Triton: a guided site without its maps in memory.

Three launches, each held against `bytheway.method`:

1. `_measure` makes the conditional maps in registers and writes what each program saw of their energies;
2. `_settle` adds that up, in a fixed order so that runs repeat bit for bit, and chooses the beta of each video;
3. `_attend` makes every map again, guides and filters it, and writes A3 V.

To make a map twice moves less than to keep what was made with it. Let N be the bytes of q; k, v and the output have as
many, so plain attention moves 4 N. The first launch adds q and k of the conditional part: 5 N under classifier-free
guidance, 6 N without. A2 V and A2 P V written in one pass and joined by an elementwise second one would be 8 N, and
take the memory of a second output. The anchor's maps are few and stay in the cache, where neighbouring pixels share
them.

A program is one head and a short run of pixels of one image, that is of one part of one video. Programs that differ in
the head only are neighbours, so that together they read whole rows of the projections that q, k and v are views of.
Scores, softmax, guidance and energies are float32 whatever the dtype.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Measures
from bytheway.attention.triton.registers import load_projector, map_and_difference
from bytheway.config import ByTheWayConfig
from bytheway.method import match_heads, projector


@triton.jit(do_not_specialize=["first_image", "pixels", "width", "anchor_height", "anchor_width"])
def _measure(
    query,
    key,
    anchor,
    projector,
    sums,
    first_image,
    pixels,
    width,
    anchor_height,
    anchor_width,
    row_ratio,
    column_ratio,
    scale,
    alpha,
    QUERY_STRIDES: tl.constexpr,
    KEY_STRIDES: tl.constexpr,
    ANCHOR_STRIDES: tl.constexpr,
    HEADS: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_C: tl.constexpr,
    RUN: tl.constexpr,
):
    """Sums over one head of a run of pixels: energy of A, of the low and the high band of A2, and the disparity."""
    program = tl.program_id(0)
    video = tl.program_id(1)
    head = program % HEADS
    first = program // HEADS * RUN
    image = first_image + video
    band = load_projector(projector, FRAMES, BLOCK_F)
    energy = tl.zeros((BLOCK_F,), tl.float32)
    low_energy = tl.zeros((BLOCK_F,), tl.float32)
    high_energy = tl.zeros((BLOCK_F,), tl.float32)
    disparity = 0.0
    for pixel in range(first, tl.minimum(first + RUN, pixels)):
        attn, difference = map_and_difference(
            query,
            key,
            anchor,
            image,
            pixel,
            head,
            pixels,
            width,
            anchor_height,
            anchor_width,
            row_ratio,
            column_ratio,
            scale,
            QUERY_STRIDES,
            KEY_STRIDES,
            ANCHOR_STRIDES,
            FRAMES,
            CHANNELS,
            BLOCK_F,
            BLOCK_C,
        )
        guided = attn + alpha * difference
        high = tl.dot(guided, band, input_precision="tf32x3")
        low = guided - high
        energy += tl.sum(attn * attn, 1)
        low_energy += tl.sum(low * low, 1)
        high_energy += tl.sum(high * high, 1)
        disparity += tl.sqrt(tl.sum(tl.sum(difference * difference, 1), 0))
    programs = tl.num_programs(0)
    place = sums + video * 4 * programs + program
    tl.store(place, tl.sum(energy, 0))
    tl.store(place + programs, tl.sum(low_energy, 0))
    tl.store(place + 2 * programs, tl.sum(high_energy, 0))
    tl.store(place + 3 * programs, disparity)


@triton.jit
def _total(sums, length, CHUNK: tl.constexpr):
    """The sum of `length` numbers, always in the same order."""
    total = tl.zeros((CHUNK,), tl.float32)
    for start in range(0, length, CHUNK):
        places = start + tl.arange(0, CHUNK)
        total += tl.load(sums + places, places < length, 0.0)
    return tl.sum(total, 0)


@triton.jit(do_not_specialize=["programs", "maps"])
def _settle(sums, measures, programs, maps, least, FRAMES: tl.constexpr, SQRT: tl.constexpr, CHUNK: tl.constexpr):
    """E1, E3, the disparity and beta of a video, by the rule of `bytheway.method.adaptive_beta`.

    `maps` is how many a video has: pixels times heads.
    """
    video = tl.program_id(0)
    of_video = sums + video * 4 * programs
    energy = _total(of_video, programs, CHUNK) / (maps * FRAMES)
    low = _total(of_video + programs, programs, CHUNK) / (maps * FRAMES)
    high = _total(of_video + 2 * programs, programs, CHUNK) / (maps * FRAMES)
    disparity = _total(of_video + 3 * programs, programs, CHUNK) / maps

    rounding = 16 * 1.1920928955078125e-07
    wanted = energy - low
    resolved = (wanted > 0) & (high > rounding * low)
    gain = tl.where(resolved, wanted, 1.0) / tl.where(resolved, high, 1.0)
    gain = tl.where(tl.abs(wanted - high) > rounding * energy, gain, 1.0)
    if SQRT:
        gain = tl.sqrt(gain)
    beta = tl.where(resolved, tl.maximum(gain, least), least)

    videos = tl.num_programs(0)
    tl.store(measures + video, energy)
    tl.store(measures + videos + video, low + beta * beta * high)
    tl.store(measures + 2 * videos + video, disparity)
    tl.store(measures + 3 * videos + video, beta)


@triton.jit(do_not_specialize=["videos", "pixels", "width", "anchor_height", "anchor_width"])
def _attend(
    query,
    key,
    value,
    anchor,
    projector,
    betas,
    output,
    videos,
    pixels,
    width,
    anchor_height,
    anchor_width,
    row_ratio,
    column_ratio,
    scale,
    alpha,
    QUERY_STRIDES: tl.constexpr,
    KEY_STRIDES: tl.constexpr,
    VALUE_STRIDES: tl.constexpr,
    ANCHOR_STRIDES: tl.constexpr,
    HEADS: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_C: tl.constexpr,
    RUN: tl.constexpr,
):
    """A3 V for one head of a run of pixels, into (rows, F, heads, channels of a head)."""
    # What a map loses in tensor cores of ten bits is less than what it loses when it becomes a half.
    PRECISION: tl.constexpr = "tf32x3" if value.dtype.element_ty == tl.float32 else "tf32"
    program = tl.program_id(0)
    image = tl.program_id(1)
    head = program % HEADS
    first = program // HEADS * RUN
    band = load_projector(projector, FRAMES, BLOCK_F)
    gain = tl.load(betas + image % videos) - 1.0
    frames = tl.arange(0, BLOCK_F)
    for pixel in range(first, tl.minimum(first + RUN, pixels)):
        attn, difference = map_and_difference(
            query,
            key,
            anchor,
            image,
            pixel,
            head,
            pixels,
            width,
            anchor_height,
            anchor_width,
            row_ratio,
            column_ratio,
            scale,
            QUERY_STRIDES,
            KEY_STRIDES,
            ANCHOR_STRIDES,
            FRAMES,
            CHANNELS,
            BLOCK_F,
            BLOCK_C,
        )
        guided = attn + alpha * difference
        enhanced = guided + gain * tl.dot(guided, band, input_precision=PRECISION)
        enhanced = enhanced.to(value.dtype.element_ty)
        row = image.to(tl.int64) * pixels + pixel
        values = value + row * VALUE_STRIDES[0] + head * VALUE_STRIDES[1]
        outputs = output + (row * FRAMES * HEADS + head) * CHANNELS
        for start in tl.static_range(0, CHANNELS, BLOCK_C):
            channels = start + tl.arange(0, BLOCK_C)
            inside = (frames < FRAMES)[:, None] & (channels < CHANNELS)[None, :]
            here = tl.load(values + frames[:, None] * VALUE_STRIDES[2] + channels[None, :], inside, 0.0)
            attended = tl.dot(enhanced, here, input_precision="tf32x3")
            tl.store(
                outputs + frames[:, None] * (HEADS * CHANNELS) + channels[None, :],
                attended.to(output.dtype.element_ty),
                inside,
            )


def guided_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    anchor: Anchor,
    scale: float,
    config: ByTheWayConfig,
) -> tuple[Tensor, Measures]:
    """Attention of a guided site, and what it measured, which costs nothing more.

    Args:
        query, key, value: (rows, heads, F, channels of a head), any strides but the last, which is 1.
        anchor: of the same parts and videos.
        scale: of the scores.

    Returns:
        A3 V in the shape of `value`, the heads next to their channels in memory.
    """
    rows, heads, frames, channels = query.shape
    (height, width), (anchor_height, anchor_width) = layout.height_width, anchor.layout.height_width
    pixels = height * width
    videos = rows // pixels // layout.parts
    maps = match_heads(anchor.attn, heads, config.head_rule).expand(-1, heads, -1, -1)
    side = max(16, triton.next_power_of_2(frames))
    run, warps = _shape_of_program(side)
    programs = heads * triton.cdiv(pixels, run)
    output = value.new_empty(rows, frames, heads, channels)
    sums = query.new_empty(videos, 4, programs, dtype=torch.float32)
    measures = query.new_empty(4, videos, dtype=torch.float32)
    band = projector(frames, config.tau, device=query.device)
    where = (width, anchor_height, anchor_width, anchor_height / height, anchor_width / width)
    constants = {
        "QUERY_STRIDES": query.stride()[:3],
        "KEY_STRIDES": key.stride()[:3],
        "ANCHOR_STRIDES": maps.stride()[:2],
        "HEADS": heads,
        "FRAMES": frames,
        "CHANNELS": channels,
        "BLOCK_F": side,
        "BLOCK_C": min(128 // query.itemsize, max(16, triton.next_power_of_2(channels))),
        "RUN": run,
        "num_warps": warps,
        # Programs small enough for many on a multiprocessor hide the latency of their loads. Pipelined loads would
        # take the memory that they live in.
        "num_stages": 1,
        "enable_fp_fusion": True,
    }
    with torch.cuda.device_of(query):
        _measure[programs, videos](
            query, key, maps, band, sums, layout.conditional * videos, pixels, *where, scale, config.alpha, **constants
        )
        _settle[(videos,)](
            sums,
            measures,
            programs,
            pixels * heads,
            config.beta,
            FRAMES=frames,
            SQRT=config.beta_rule == "sqrt",
            CHUNK=1024,
            enable_fp_fusion=True,
        )
        energy, energy_after, disparity, beta = measures
        _attend[programs, videos * layout.parts](
            query,
            key,
            value,
            maps,
            band,
            beta,
            output,
            videos,
            pixels,
            *where,
            scale,
            config.alpha,
            VALUE_STRIDES=value.stride()[:3],
            **constants,
        )
    return output.transpose(1, 2), Measures(energy, energy_after, disparity, beta)


def _shape_of_program(side: int) -> tuple[int, int]:
    """Pixels and warps of a program whose maps are tiles of side x side.

    The tensor cores take 16 rows of a tile from each warp; warps beyond the last row repeat what others do.
    """
    return 128 // side, side // 16
