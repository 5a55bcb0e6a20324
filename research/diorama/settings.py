"""The five settings: still pictures with a horizon, drawn in world units (a frame is 64 high and wide).

A drawing takes pixel coordinates ``(1, H, W)``, the horizon's height ``(b, 1, 1)`` and uniform numbers ``(b, 32)`` that
say where things are, and paints on a :class:`Layer` of shape ``(b, H, W)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from research.diorama.shapes import Colour, Layer, capsule, circle, ellipse

DRAWS = 32
GROUND_SHADOW = {"meadow": 0.30, "snow": 0.18, "desert": 0.26, "night": 0.40, "sea": 0.0}


@dataclass
class View:
    """What a setting is drawn from; ``draw`` hands out its random numbers one after the other."""

    layer: Layer
    x: Tensor
    y: Tensor
    horizon: Tensor
    draws: Tensor
    used: int = 0

    def draw(self, low: float, high: float) -> Tensor:
        """The next random number of every clip, ``(b, 1, 1)`` in [low, high)."""
        value = self.draws[:, self.used].view(-1, 1, 1)
        self.used += 1
        return low + (high - low) * value

    def gradient(self, region: Tensor, top: Colour, bottom: Colour, start: Tensor | float, end: Tensor | float) -> None:
        """Fills a region with a vertical transition between two colours."""
        share = ((self.y - start) / (end - start)).clamp(0, 1).unsqueeze(-3)
        a, b = (share.new_tensor(c).view(3, 1, 1) for c in (top, bottom))
        self.layer.fill(region, a + share * (b - a))

    def sky(self, top: Colour, bottom: Colour) -> None:
        """The sky, its tint slightly varied."""
        shift = self.draw(-10.0, 10.0)
        self.gradient(torch.full_like(self.y + shift, -9.0), top, bottom, shift, self.horizon)

    def ground(self, top: Colour, bottom: Colour, wave: float = 0.8) -> None:
        """The ground from a gently waving horizon down."""
        edge = self.horizon + wave * (self.x * 0.11 + self.draw(0.0, math.tau)).sin()
        self.gradient(edge - self.y, top, bottom, self.horizon, 64.0)

    def hill(self, colour: Colour, height: float, stretch: float) -> None:
        """A wavy silhouette behind the ground; ``stretch`` is the waves' angular frequency per unit."""
        phase, rise = self.draw(0.0, math.tau), self.draw(0.75, 1.1)
        crest = self.horizon - height * rise * (0.55 + 0.45 * (self.x * stretch + phase).sin())
        self.layer.fill(crest - self.y, colour)

    def cloud(self, x: Tensor, y: Tensor, colour: Colour) -> None:
        """Three puffs on a flat base."""
        u, v = self.x - x, self.y - y
        puffs = circle(u, v, 0.0, -1.6, 3.4).minimum(circle(u, v, -4.2, 0.0, 2.4)).minimum(circle(u, v, 4.0, -0.2, 2.7))
        self.layer.fill(puffs.minimum(capsule(u, v, -4.4, 1.2, 4.4, 1.2, 1.2)).maximum(v - 2.2), colour)


def _meadow(view: View) -> None:
    view.sky((0.42, 0.72, 0.96), (0.83, 0.94, 0.99))
    for place in (6.0, 42.0):
        view.cloud(view.draw(place, place + 16.0), view.draw(6.0, 13.0), (1.0, 1.0, 1.0))
    view.hill((0.55, 0.78, 0.50), 9.0, 0.10)
    view.hill((0.44, 0.72, 0.38), 5.0, 0.15)
    view.ground((0.38, 0.70, 0.28), (0.27, 0.58, 0.22))
    for place in range(6):
        x = view.draw(1.0, 9.0) + 10.6 * place
        y = view.horizon + view.draw(4.0, 9.0) + (place * 7 % 11)
        petals: Colour = ((1.0, 0.97, 0.95), (1.0, 0.72, 0.80))[place % 2]
        view.layer.fill(circle(view.x, view.y, x, y, 1.35), petals)
        view.layer.fill(circle(view.x, view.y, x, y, 0.55), (0.98, 0.80, 0.25))


def _snow(view: View) -> None:
    view.sky((0.56, 0.69, 0.83), (0.85, 0.90, 0.95))
    view.hill((0.72, 0.80, 0.89), 11.0, 0.13)
    for place in (3.0, 24.0, 47.0):
        x, tall = view.draw(place, place + 13.0), view.draw(10.0, 14.0)
        u, v = view.x - x, (view.y - view.horizon - 1.5) / tall
        for top, width, base in ((-1.0, 3.6, -0.45), (-0.72, 5.0, 0.0)):
            tree = u.abs() - width * (v - top) / (base - top)
            view.layer.fill(tree.maximum((v - base) * tall), (0.24, 0.44, 0.42))
        view.layer.fill((u.abs() - 3.6 * (v + 1.0) / 0.55).maximum((v + 0.78) * tall), (0.97, 0.98, 1.0))
    view.ground((0.90, 0.94, 0.98), (0.98, 0.99, 1.0), 1.2)
    for place in (12.0, 44.0):
        x, y = view.draw(place - 8.0, place + 8.0), view.horizon + view.draw(7.0, 14.0)
        view.layer.fill(ellipse(view.x, view.y, x, y, 11.0, 1.5), (0.80, 0.87, 0.95))


def _desert(view: View) -> None:
    view.sky((0.98, 0.72, 0.50), (1.0, 0.90, 0.70))
    view.layer.fill(circle(view.x, view.y, view.draw(8.0, 56.0), view.draw(9.0, 15.0), 5.5), (1.0, 0.97, 0.80))
    view.hill((0.86, 0.58, 0.40), 10.0, 0.09)
    view.hill((0.80, 0.51, 0.33), 5.0, 0.14)
    x = view.draw(4.0, 60.0)
    u, v = view.x - x, view.y - view.horizon
    cactus = capsule(u, v, 0.0, 4.0, 0.0, -9.0, 1.5)
    for side, low in ((-1.0, -2.0), (1.0, -4.0)):
        arm = capsule(u, v, 0.0, low, side * 4.0, low, 1.0).minimum(
            capsule(u, v, side * 4.0, low, side * 4.0, low - 3.5, 1.0)
        )
        cactus = cactus.minimum(arm)
    view.ground((0.86, 0.62, 0.39), (0.76, 0.49, 0.29), 1.4)
    view.layer.fill(cactus, (0.34, 0.52, 0.31))
    for place in (5.0, 10.0, 15.0, 20.0):
        phase = view.draw(0.0, math.tau)
        line = (view.y - view.horizon - place - 1.3 * (view.x * 0.16 + phase).sin()).abs() - 0.35
        view.layer.fill(line, (0.72, 0.46, 0.28), 0.6)


def _night(view: View) -> None:
    view.sky((0.05, 0.06, 0.20), (0.17, 0.18, 0.42))
    for place in range(8):
        x, y = view.draw(0.0, 8.0) + 8.0 * place, view.draw(2.0, 12.0) + (place * 5 % 13)
        view.layer.fill(circle(view.x, view.y, x, y, 0.75), (0.98, 0.97, 0.85))
    x, y = view.draw(8.0, 56.0), view.draw(9.0, 13.0)
    disc = circle(view.x, view.y, x, y, 5.6)
    view.layer.fill(circle(view.x, view.y, x, y, 8.0), (0.24, 0.25, 0.48), 0.6)
    view.layer.fill(disc, (0.16, 0.17, 0.38))
    view.layer.fill(disc.maximum(-circle(view.x, view.y, x + 2.8, y - 1.6, 4.9)), (0.99, 0.96, 0.78))
    view.hill((0.10, 0.12, 0.30), 8.0, 0.11)
    view.ground((0.18, 0.25, 0.47), (0.12, 0.17, 0.36))
    for middle in (14.0, 46.0):
        u = view.draw(middle - 9.0, middle + 9.0)
        patch = ellipse(view.x, view.y, u, view.horizon + view.draw(6.0, 16.0), 9.0, 1.0)
        view.layer.fill(patch, (0.24, 0.32, 0.55))


def _sea(view: View) -> None:
    view.sky((0.50, 0.78, 0.97), (0.95, 0.97, 0.93))
    view.layer.fill(circle(view.x, view.y, view.draw(8.0, 56.0), view.draw(8.0, 12.0), 4.6), (1.0, 0.93, 0.60))
    view.cloud(view.draw(4.0, 60.0), view.draw(11.0, 17.0), (1.0, 1.0, 1.0))
    island = view.draw(6.0, 58.0)
    bulge = ellipse(view.x, view.y, island, view.horizon, 8.0, 3.4)
    view.layer.fill(bulge, (0.46, 0.66, 0.48))
    view.gradient(view.horizon - view.y, (0.25, 0.66, 0.74), (0.08, 0.42, 0.58), view.horizon, 64.0)
    for row, depth in enumerate((3.6, 9.2, 15.6, 22.8)):
        phase = view.draw(0.0, math.tau)
        crest = (view.x * (0.36 - 0.04 * row) + phase).sin()
        line = (view.y - view.horizon - depth - (0.6 + 0.15 * row) * crest).abs() - 0.55 * (0.6 + crest)
        view.layer.fill(line, (0.62, 0.88, 0.91), 0.75)


DRAWINGS: dict[str, Callable[[View], None]] = {
    "meadow": _meadow,
    "snow": _snow,
    "desert": _desert,
    "night": _night,
    "sea": _sea,
}


def backdrop(setting: str, draws: Tensor, horizon: Tensor, size: int) -> Tensor:
    """Pictures ``(b, 3, size, size)`` in [0, 1] of one setting, from uniforms ``(b, DRAWS)`` and horizons ``(b,)``."""
    unit = 64.0 / size
    middle = (torch.arange(size, device=draws.device, dtype=torch.float32) + 0.5) * unit
    layer = Layer((len(draws), size, size), torch.tensor(unit, device=draws.device))
    view = View(layer, middle.view(1, 1, size), middle.view(1, size, 1), horizon.view(-1, 1, 1), draws)
    DRAWINGS[setting](view)
    return layer.colour
