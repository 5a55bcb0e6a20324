"""Dense optical flow by pyramids of Lucas and Kanade (1981; Bouguet 2001): enough for small clips of large shapes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 4
WARPS = 4
SIGMA = 1.5
RIDGE = 1e-3
"""Added to the squared gradients of pictures in [0, 1]: where there is nothing to see, nothing moves."""
STEP = 1.0
"""The most that one iteration moves a pixel, in pixels of its level."""

FAST = 2.7
"""Pixels per frame. By the rule of `dynamic` about half of the renders of prompts that move exceed it. VBench's 6/256
of the frame's side, 1.5 pixels here, is exceeded by three quarters of them, and by nearly all clips of a model that
flickers: nothing would be left to raise.
"""


def flow_lengths(clips: Tensor) -> Tensor:
    """How far the pixels of clips (n, F, 3, H, W) in [-1, 1] move to the next frame: (n, F - 1, H, W), in pixels."""
    grey = 0.5 + 0.5 * clips.mean(2, keepdim=True)
    flow = optical_flow(grey[:, :-1].flatten(0, 1), grey[:, 1:].flatten(0, 1))
    lengths: Tensor = flow.norm(dim=1).unflatten(0, (len(clips), -1))
    return lengths


def dynamic(lengths: Tensor) -> Tensor:
    """1 where a clip of these `flow_lengths` is dynamic, else 0: (n,).

    VBench's rule (Huang et al., CVPR 2024, arXiv 2311.17982) with a threshold of this world: a pair of frames moves
    where the mean of its longest 5 % exceeds `FAST`, and a clip where at least a quarter of the number of its frames
    do. The flow is not VBench's: that is RAFT's.
    """
    frames, (height, width) = lengths.shape[1] + 1, lengths.shape[2:]
    longest = lengths.flatten(2).topk(int(0.05 * height * width), dim=2).values.mean(2)
    moving = (longest > FAST).sum(1)
    return (moving >= round(4 * frames / 16)).float()


def optical_flow(first: Tensor, second: Tensor) -> Tensor:
    """Where each pixel of `first` (n, 1, H, W), in [0, 1], is found in `second`: (n, 2, H, W), x and y in pixels."""
    pyramid = [(_blur(first), _blur(second))]
    while len(pyramid) < LEVELS:
        pyramid.append((F.avg_pool2d(pyramid[-1][0], 2), F.avg_pool2d(pyramid[-1][1], 2)))
    coarsest = pyramid[-1][0]
    flow = coarsest.new_zeros(len(first), 2, *coarsest.shape[-2:])
    for here, there in reversed(pyramid):
        if flow.shape[-2:] != here.shape[-2:]:
            flow = 2 * F.interpolate(flow, size=here.shape[-2:], mode="bilinear", align_corners=False)
        for _ in range(WARPS):
            flow = flow + _increment(here, _warp(there, flow))
    return flow


def _increment(here: Tensor, warped: Tensor) -> Tensor:
    """The least-squares displacement between two pictures in a Gaussian window about each pixel."""
    padded = F.pad(0.5 * (here + warped), (1, 1, 1, 1), mode="replicate")
    across = 0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2])
    down = 0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1])
    change = warped - here
    products = torch.cat([across * across, across * down, down * down, across * change, down * change], 1)
    xx, xy, yy, xt, yt = _blur(products).split(1, 1)
    xx, yy = xx + RIDGE, yy + RIDGE
    step: Tensor = torch.cat([xy * yt - yy * xt, xy * xt - xx * yt], 1) / (xx * yy - xy * xy)
    return step.clamp(-STEP, STEP)


def _warp(picture: Tensor, flow: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y]).to(flow) + flow
    size = flow.new_tensor([width, height]).view(2, 1, 1)
    grid = ((2 * places + 1) / size - 1).movedim(1, -1)
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)


def _blur(pictures: Tensor) -> Tensor:
    radius = int(2 * SIGMA)
    line = torch.arange(-radius, radius + 1, device=pictures.device, dtype=pictures.dtype)
    weights = (-0.5 * (line / SIGMA).square()).exp()
    weights = weights / weights.sum()
    flat = pictures.flatten(0, 1).unsqueeze(1)
    flat = F.pad(flat, (radius,) * 4, mode="replicate")
    flat = F.conv2d(F.conv2d(flat, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
    return flat.view_as(pictures)
