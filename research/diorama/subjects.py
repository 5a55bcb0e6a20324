"""The eight subjects, drawn about their centre in world units, facing right.

Every drawing takes a :class:`Pose` and paints on a :class:`Layer`. ``SIZES`` says how wide and high each one is with
its outline. Limbs and wheels follow the pose's gait, so the drawing tells what a clip does, not the track alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from research.diorama.shapes import INK, Colour, Layer, box, capsule, circle, convex, ellipse, mixed, rotate, star

PALETTE: dict[str, Colour] = {
    "red": (0.90, 0.17, 0.17),
    "yellow": (1.00, 0.85, 0.12),
    "blue": (0.16, 0.38, 0.95),
    "purple": (0.62, 0.22, 0.82),
    "white": (0.97, 0.97, 0.99),
}
SECOND: dict[str, Colour] = {
    "red": (1.00, 0.95, 0.90),
    "yellow": (1.00, 0.50, 0.10),
    "blue": (0.93, 0.97, 1.00),
    "purple": (1.00, 0.88, 0.95),
    "white": (0.55, 0.62, 0.74),
}
SIZES = {
    "ball": (29.0, 29.0),
    "star": (30.0, 28.5),
    "box": (24.0, 24.0),
    "car": (29.5, 19.5),
    "person": (15.0, 29.5),
    "dog": (29.5, 22.0),
    "bird": (29.0, 18.0),
    "boat": (28.0, 29.0),
}
ENLARGED = {"person": 1.3, "dog": 1.12, "bird": 1.1}
"""Factors on subjects whose limbs would otherwise be finer than a latent pixel can hold."""
SKIN: Colour = (0.98, 0.80, 0.64)
WHITE: Colour = (1.0, 1.0, 1.0)
GLASS: Colour = (0.74, 0.90, 0.98)
TROUSERS: Colour = (0.27, 0.29, 0.40)
SHOES: Colour = (0.45, 0.27, 0.18)
ORANGE: Colour = (1.0, 0.60, 0.10)


@dataclass
class Pose:
    """Where every pixel lies in the subject's own frame, and how its parts stand.

    ``x``, ``y``: ``(b, F, h, w)``; the rest ``(b, F, 1, 1)`` but the colours, ``(b, 1, 3, 1, 1)``: ``angle`` of the
    whole (radians), ``roll`` of wheels (radians, forward), ``swing`` of the limbs, ``counter`` of those in the opposite
    phase and ``flap`` of wings in [-1, 1], ``lift`` in [0, 1] above the ground, ``main`` and the ``second`` colour that
    stands out from it.
    """

    x: Tensor
    y: Tensor
    angle: Tensor
    roll: Tensor
    swing: Tensor
    counter: Tensor
    flap: Tensor
    lift: Tensor
    main: Tensor
    second: Tensor

    def dark(self, share: float = 0.35) -> Tensor:
        """The main colour in the shade."""
        return mixed(self.main, INK, share)

    def light(self, share: float = 0.4) -> Tensor:
        """The main colour in the light."""
        return mixed(self.main, WHITE, share)


def _ball(layer: Layer, pose: Pose) -> None:
    x, y = rotate(pose.x, pose.y, pose.angle)
    disc = circle(x, y, 0.0, 0.0, 13.5)
    layer.draw(disc, pose.main)
    # Stripes bend towards the rim as on a sphere; clipped by the disc.
    bend = y * (1 - 0.0018 * x * x)
    layer.fill(((bend.abs() - 5.8).abs() - 2.1).maximum(disc), pose.second)
    layer.fill(ellipse(pose.x, pose.y, -4.8, -6.2, 3.6, 2.6), WHITE, 0.55)


def _star(layer: Layer, pose: Pose) -> None:
    x, y = rotate(pose.x, pose.y - 1.3, pose.angle)
    layer.draw(star(x, y, 13.6, 0.52, 1.0), pose.main)
    layer.fill(star(x, y, 8.6, 0.52, 0.4), pose.light(0.3))
    eyes = ellipse(x.abs(), y, 2.9, -0.8, 1.1, 1.7)
    layer.fill(eyes, INK)


def _box(layer: Layer, pose: Pose) -> None:
    x, y = rotate(pose.x, pose.y, pose.angle)
    layer.draw(box(x, y, 0.0, 0.0, 11.0, 11.0, 1.5), pose.main)
    layer.fill(box(x, y, 0.0, 9.4, 11.0, 1.6, 1.2), pose.dark(0.25))
    layer.fill(box(x, y, 0.0, 0.0, 2.4, 11.0), pose.second)
    layer.fill(box(x, y, 0.0, 0.0, 11.0, 2.4), pose.second)
    layer.fill(circle(x, y, 0.0, 0.0, 3.8), INK)
    layer.fill(circle(x, y, 0.0, 0.0, 2.9), pose.second)


def _car(layer: Layer, pose: Pose) -> None:
    x, y = pose.x, pose.y
    cabin = convex(x, y, [(-7.5, -7.6), (2.5, -7.6), (7.0, 0.0), (-10.0, 0.0)], 1.2)
    body = box(x, y, 0.0, 1.6, 13.7, 3.9, 2.4)
    layer.draw(cabin.minimum(body), pose.main)
    window = convex(x, y, [(-6.6, -5.9), (1.9, -5.9), (4.6, -1.6), (-8.0, -1.6)], 0.3)
    layer.fill(window.maximum(0.8 - (x + 2.2).abs()), GLASS)
    layer.fill(box(x, y, 0.0, 4.2, 13.6, 0.9), pose.dark())
    layer.fill(circle(x, y, 12.0, 0.6, 1.7), (1.0, 0.95, 0.55))
    layer.fill(box(x, y, -13.0, 0.4, 0.8, 1.5), (0.55, 0.05, 0.08))
    # Both wheels turn alike: one spoked wheel in coordinates folded about the middle.
    u, v = x.where(x < 0, x - 16.4) + 8.2, y - 5.2
    layer.fill(circle(u, v, 0.0, 0.0, 4.5), INK)
    layer.fill(circle(u, v, 0.0, 0.0, 2.9), (0.86, 0.87, 0.90))
    p, q = rotate(u, v, pose.roll)
    layer.fill(p.abs().minimum(q.abs()).sub(0.55).maximum(circle(u, v, 0.0, 0.0, 2.9)), (0.35, 0.36, 0.42))


def _person(layer: Layer, pose: Pose) -> None:
    x, y = pose.x, pose.y
    stride = 4.6 * pose.swing
    sleeve, far = pose.light(0.12), pose.dark(0.3)
    hand = 4.6 - stride.abs() * 0.25 - 4.0 * pose.lift
    layer.draw(capsule(x, y, -0.4, -3.0, -stride - 1.2, hand, 1.3), far)
    for side, tone in ((-1.0, (0.20, 0.22, 0.32)), (1.0, TROUSERS)):
        foot, sole = side * (stride + 1.1), 12.4 - 0.22 * stride.abs() - 1.2 * pose.lift
        shoe = capsule(x, y, foot, sole, foot + 1.8, sole, 1.25)
        leg = capsule(x, y, side * 0.8, 4.0, foot, sole - 0.8, 1.5)
        layer.draw(leg.minimum(shoe), tone)
        layer.fill(shoe, SHOES)
    layer.draw(capsule(x, y, 0.0, -2.0, 0.0, 3.2, 3.5), pose.main)
    head = circle(x, y, 0.4, -9.3, 3.9)
    layer.draw(head.minimum(circle(x, y, 4.2, -8.5, 0.9)), SKIN)
    brim = capsule(x, y, -2.2, -10.6, 5.6, -10.6, 0.75)
    cap = circle(x, y, 0.4, -9.8, 4.2).maximum(y + 10.4).minimum(brim)
    layer.draw(cap, pose.main, 0.6)
    layer.fill(circle(x, y, 2.2, -8.5, 0.75), INK)
    arm = capsule(x, y, 0.2, -2.6, stride + 0.6, hand, 1.4)
    layer.draw(arm, sleeve, 0.8)
    layer.fill(circle(x, y, stride + 0.6, hand + 0.2, 1.5), SKIN)


def _dog(layer: Layer, pose: Pose) -> None:
    x, y = pose.x, pose.y
    tuck = 1.5 * pose.lift
    near, far = 3.0 * pose.swing, 3.0 * pose.counter
    shade = pose.dark(0.3)
    for hip, step in ((-4.8, far), (5.4, -far)):
        layer.draw(capsule(x, y, hip, 2.0, hip + step, 8.4 - tuck, 1.35), shade)
    tail = capsule(x, y, -9.0, -1.5, -12.6, -7.2 + 1.2 * pose.swing, 1.25)
    legs = [capsule(x, y, hip, 2.0, hip + step, 8.6 - tuck, 1.5) for hip, step in ((-7.6, -near), (3.0, near))]
    body = capsule(x, y, -6.0, 0.6, 4.4, 0.2, 4.4)
    neck = capsule(x, y, 4.5, -1.0, 8.0, -5.5, 2.9)
    head = circle(x, y, 8.6, -6.0, 3.9).minimum(capsule(x, y, 9.0, -4.9, 12.2, -4.5, 1.9))
    layer.draw(body.minimum(neck).minimum(head).minimum(tail).minimum(legs[0].minimum(legs[1])), pose.main)
    layer.fill(ellipse(x, y, -2.0, 2.9, 6.5, 1.4), pose.dark(0.14))
    layer.fill(capsule(x, y, 4.6, -2.6, 6.6, -0.6, 0.9), pose.second)
    layer.draw(ellipse(x, y, 6.3, -5.8, 1.7, 3.3), pose.dark(0.4), 0.5)
    layer.fill(circle(x, y, 13.2, -5.6, 1.2), INK)
    layer.fill(circle(x, y, 9.8, -7.2, 0.85), INK)


def _bird(layer: Layer, pose: Pose) -> None:
    x, y = pose.x, pose.y
    tail = convex(x, y, [(-6.0, -1.6), (-6.0, 3.0), (-13.2, 2.2), (-12.4, -2.6)], 0.3)
    body = ellipse(x, y, -0.6, 1.2, 8.2, 5.2)
    head = circle(x, y, 6.6, -2.4, 4.0)
    layer.draw(convex(x, y, [(9.4, -4.2), (14.0, -2.0), (9.4, -0.2)], 0.2), ORANGE)
    layer.draw(tail, pose.dark(0.3))
    layer.draw(body.minimum(head), pose.main)
    layer.fill(ellipse(x, y, 0.8, 3.6, 5.6, 2.2), pose.light(0.35))
    layer.fill(circle(x, y, 7.8, -3.2, 1.0), INK)
    # The wing turns about the shoulder and is longest when it is raised or lowered.
    tip = 7.4 * pose.flap
    u, v = x + 0.4, y + 0.2
    feathers = capsule(u, v, 0.0, 0.0, -5.4, -1.15 * tip, 1.6)
    middle = capsule(u, v, 0.4, 0.0, -3.0, -0.75 * tip, 2.2)
    root = capsule(u, v, 1.4, 0.0, -1.4, -0.4 * tip, 2.6)
    layer.draw(feathers.minimum(middle).minimum(root), pose.dark(0.22))


def _boat(layer: Layer, pose: Pose) -> None:
    x, y = rotate(pose.x, pose.y, pose.angle)
    layer.fill(box(x, y, 0.3, -3.0, 0.9, 11.2), INK)
    layer.draw(convex(x, y, [(-1.3, -10.4), (-1.3, 4.2), (-10.8, 4.2)], 0.3), pose.light(0.55))
    layer.fill(convex(x, y, [(-1.0, -2.4), (-1.0, 1.6), (-9.2, 1.6), (-6.7, -2.4)]), pose.main)
    layer.draw(convex(x, y, [(1.9, -8.0), (8.4, 4.2), (1.9, 4.2)], 0.3), WHITE)
    layer.draw(convex(x, y, [(0.6, -13.2), (0.6, -10.4), (-4.6, -11.8)]), pose.main, 0.6)
    hull = convex(x, y, [(-12.2, 6.4), (13.0, 6.4), (8.0, 13.0), (-9.4, 13.0)], 0.4)
    layer.draw(hull, pose.main)
    layer.fill(box(x, y, 0.4, 7.6, 11.0, 0.9), pose.second)


DRAWINGS: dict[str, Callable[[Layer, Pose], None]] = {
    "ball": _ball,
    "star": _star,
    "box": _box,
    "car": _car,
    "person": _person,
    "dog": _dog,
    "bird": _bird,
    "boat": _boat,
}
