"""Signed distance functions, batched, and painting with them.

A distance is negative inside a shape, zero on its edge, positive outside. Lengths are in world units: a frame is 64
units high and wide whatever its resolution; x goes right, y goes down. Coordinates ``x`` and ``y`` are tensors of any
shapes that broadcast against the parameters. Closed forms follow Inigo Quilez, "2D distance functions".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Scalar = Tensor | float
Colour = tuple[float, float, float]

INK: Colour = (0.10, 0.09, 0.14)
OUTLINE = 1.0


def circle(x: Tensor, y: Tensor, cx: Scalar, cy: Scalar, radius: Scalar) -> Tensor:
    """Disc of the given centre and radius."""
    return torch.hypot(x - cx, y - cy) - radius


def ellipse(x: Tensor, y: Tensor, cx: Scalar, cy: Scalar, rx: Scalar, ry: Scalar) -> Tensor:
    """Ellipse with half axes ``rx`` and ``ry``; a first-order distance, exact on the edge."""
    u, v = (x - cx) / rx, (y - cy) / ry
    radius = torch.hypot(u, v)
    return radius * (radius - 1) / torch.hypot(u / rx, v / ry).clamp_min(1e-4)


def box(x: Tensor, y: Tensor, cx: Scalar, cy: Scalar, hw: Scalar, hh: Scalar, rounding: float = 0.0) -> Tensor:
    """Upright rectangle of half width ``hw`` and half height ``hh`` with rounded corners."""
    u, v = (x - cx).abs() - hw + rounding, (y - cy).abs() - hh + rounding
    return torch.hypot(u.clamp_min(0), v.clamp_min(0)) + torch.maximum(u, v).clamp_max(0) - rounding


def capsule(x: Tensor, y: Tensor, ax: Scalar, ay: Scalar, bx: Scalar, by: Scalar, radius: Scalar) -> Tensor:
    """All points within ``radius`` of the segment from a to b."""
    dx, dy = bx - ax, by - ay
    u, v = x - ax, y - ay
    h = ((u * dx + v * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return torch.hypot(u - dx * h, v - dy * h) - radius


def convex(x: Tensor, y: Tensor, points: list[tuple[float, float]], rounding: float = 0.0) -> Tensor:
    """Convex polygon, corners clockwise as seen on the screen; the edges' half planes, so sharp outside the corners."""
    inside: Tensor | None = None
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        length = math.hypot(bx - ax, by - ay)
        edge = ((by - ay) * (x - ax) - (bx - ax) * (y - ay)) / length
        inside = edge if inside is None else torch.maximum(inside, edge)
    assert inside is not None
    return inside - rounding


def star(x: Tensor, y: Tensor, outer: float, inner: float, rounding: float = 0.0) -> Tensor:
    """Five-pointed star about the origin, one point up; ``inner`` is the ratio of the two radii."""
    k1 = (math.cos(math.pi / 5), -math.sin(math.pi / 5))
    x, y = x.abs(), -y
    for sign in (1.0, -1.0):
        fold = 2 * (sign * k1[0] * x + k1[1] * y).clamp_min(0)
        x, y = x - fold * sign * k1[0], y - fold * k1[1]
    x, y = x.abs(), y - outer
    ex = inner * -k1[1]
    ey = inner * k1[0] - 1
    h = ((x * ex + y * ey) / (ex * ex + ey * ey)).clamp(0, outer)
    return torch.hypot(x - ex * h, y - ey * h) * torch.sign(y * ex - x * ey) - rounding


def rotate(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates in a frame turned by ``angle`` radians (clockwise on the screen)."""
    cos, sin = angle.cos(), angle.sin()
    return x * cos + y * sin, y * cos - x * sin


def mixed(a: Tensor, b: Colour, share: float) -> Tensor:
    """Colours ``a`` ``(..., 3, 1, 1)`` with a share of ``b``."""
    return a + share * (a.new_tensor(b).view(3, 1, 1) - a)


class Layer:
    """Paint on transparent ground: colour ``(..., 3, h, w)`` and coverage ``(..., h, w)``, both in [0, 1]."""

    def __init__(self, shape: tuple[int, ...], softness: Tensor) -> None:
        """``shape`` is that of the coverage; ``softness`` is the width in world units over which an edge fades."""
        *batch, height, width = shape
        self.softness = softness
        self.colour = softness.new_tensor(INK).view(3, 1, 1).expand(*batch, 3, height, width).clone()
        self.alpha = softness.new_zeros(shape)

    def fill(self, distance: Tensor, colour: Tensor | Colour, opacity: float = 1.0) -> None:
        """Paints the inside of a shape."""
        cover = (0.5 - distance / self.softness).clamp(0, 1)
        self.alpha = self.alpha + cover * (1 - self.alpha)
        paint = colour if isinstance(colour, Tensor) else self.softness.new_tensor(colour).view(3, 1, 1)
        self.colour = torch.lerp(self.colour, paint.expand_as(self.colour), (opacity * cover).unsqueeze(-3))

    def draw(self, distance: Tensor, colour: Tensor | Colour, outline: float = OUTLINE) -> None:
        """Paints a shape with a dark outline around it."""
        self.fill(distance - outline, INK)
        self.fill(distance, colour)
