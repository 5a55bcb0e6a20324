# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Pieces of Triton kernels: the map of one pixel and head, its anchor, and the projector, each made in registers.

Tiles are (BLOCK_F, BLOCK_F), BLOCK_F being a power of two of at least 16, in float32 and 0 beyond the frames.
"""

import triton
import triton.language as tl


@triton.jit
def _taps(position, ratio, size):
    """The pixels of an axis on either side of a position of the finer map, and the weight of the second.

    Pixel centres lie at halves, as in `torch.nn.functional.interpolate` with align_corners=False.
    """
    source = tl.maximum((position + 0.5) * ratio - 0.5, 0.0)
    first = tl.minimum(source.to(tl.int64), size - 1)
    return first, tl.minimum(first + 1, size - 1), source - first


@triton.jit
def _reference(
    anchor,
    pixel,
    width,
    anchor_height,
    anchor_width,
    row_ratio,
    column_ratio,
    ANCHOR_ROW: tl.constexpr,
    FRAMES: tl.constexpr,
    BLOCK_F: tl.constexpr,
):
    """U(A_1) of one pixel and head; `anchor` points to the image and head."""
    top, bottom, down = _taps(pixel // width, row_ratio, anchor_height)
    left, right, across = _taps(pixel % width, column_ratio, anchor_width)
    frames = tl.arange(0, BLOCK_F)
    inside = (frames < FRAMES)[:, None] & (frames < FRAMES)[None, :]
    maps = anchor + frames[:, None] * FRAMES + frames[None, :]
    top_left = tl.load(maps + (top * anchor_width + left) * ANCHOR_ROW, inside, 0.0).to(tl.float32)
    top_right = tl.load(maps + (top * anchor_width + right) * ANCHOR_ROW, inside, 0.0).to(tl.float32)
    bottom_left = tl.load(maps + (bottom * anchor_width + left) * ANCHOR_ROW, inside, 0.0).to(tl.float32)
    bottom_right = tl.load(maps + (bottom * anchor_width + right) * ANCHOR_ROW, inside, 0.0).to(tl.float32)
    above = top_left + across * (top_right - top_left)
    below = bottom_left + across * (bottom_right - bottom_left)
    return above + down * (below - above)


@triton.jit
def _softmax_map(
    query,
    key,
    scale,
    QUERY_FRAME: tl.constexpr,
    KEY_FRAME: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """A of one pixel and head, to which `query` and `key` point."""
    frames = tl.arange(0, BLOCK_F)
    scores = tl.zeros((BLOCK_F, BLOCK_F), tl.float32)
    for start in tl.static_range(0, CHANNELS, BLOCK_C):
        channels = start + tl.arange(0, BLOCK_C)
        inside = (frames < FRAMES)[:, None] & (channels < CHANNELS)[None, :]
        queries = tl.load(query + frames[:, None] * QUERY_FRAME + channels[None, :], inside, 0.0)
        keys = tl.load(key + frames[:, None] * KEY_FRAME + channels[None, :], inside, 0.0)
        scores = tl.dot(queries, tl.trans(keys), scores, input_precision="tf32x3")
    scores = tl.where((frames < FRAMES)[None, :], scores * scale, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    attn = weights / tl.sum(weights, 1)[:, None]
    return tl.where((frames < FRAMES)[:, None], attn, 0.0)


@triton.jit
def map_and_difference(
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
    QUERY_STRIDES: tl.constexpr,
    KEY_STRIDES: tl.constexpr,
    ANCHOR_STRIDES: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """A of one pixel and head, and the difference U(A_1) - A, of which guidance adds alpha times."""
    row = image.to(tl.int64) * pixels + pixel
    attn = _softmax_map(
        query + row * QUERY_STRIDES[0] + head * QUERY_STRIDES[1],
        key + row * KEY_STRIDES[0] + head * KEY_STRIDES[1],
        scale,
        QUERY_STRIDES[2],
        KEY_STRIDES[2],
        FRAMES,
        CHANNELS,
        BLOCK_F,
        BLOCK_C,
    )
    reference = _reference(
        anchor + image.to(tl.int64) * anchor_height * anchor_width * ANCHOR_STRIDES[0] + head * ANCHOR_STRIDES[1],
        pixel,
        width,
        anchor_height,
        anchor_width,
        row_ratio,
        column_ratio,
        ANCHOR_STRIDES[0],
        FRAMES,
        BLOCK_F,
    )
    return attn, reference - attn


@triton.jit
def load_projector(projector, FRAMES: tl.constexpr, BLOCK_F: tl.constexpr):
    """P, which keeps the high band."""
    frames = tl.arange(0, BLOCK_F)
    inside = (frames < FRAMES)[:, None] & (frames < FRAMES)[None, :]
    return tl.load(projector + frames[:, None] * FRAMES + frames[None, :], inside, 0.0)
