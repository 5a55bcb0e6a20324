"""A small procedural world: scenes of four attributes, rendered as clips with the truth about them.

How much a subject moves is no attribute: every clip draws it anew (`research.diorama.amplitudes`).
Every clip's random numbers are drawn from the generator before anything is rendered, a fixed count for each, so a clip
depends on its place in the generator's stream alone: a batch equals the clips rendered one after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from research.diorama import settings, subjects
from research.diorama.amplitudes import AMPLITUDES, JUMP
from research.diorama.captions import caption, vocabulary
from research.diorama.shapes import Layer

__all__ = [
    "COLOURS",
    "MOTIONS",
    "SETTINGS",
    "SUBJECTS",
    "Clips",
    "Scene",
    "all_scenes",
    "caption",
    "render",
    "sample_scenes",
    "split",
    "vocabulary",
]

SUBJECTS = ("ball", "star", "box", "car", "person", "dog", "bird", "boat")
COLOURS = ("red", "yellow", "blue", "purple", "white")
SETTINGS = ("meadow", "snow", "desert", "night", "sea")
MOTIONS = ("left", "right", "jump", "spin", "still")

WORLD = 64.0
"""Height and width of a frame in world units."""
WINDOW = 46.0
"""Side of the window about a subject in which it is drawn, in world units."""
FOAM = (0.80, 0.95, 0.96)
START = -0.4
"""Where a subject that travels starts, in its reach from the middle: most of its way lies on the side it goes to.

A world that is the same when time runs backwards teaches neither the order of frames nor which way is left.
"""
STRIDE = 10.0
"""The way, in world units at scale 1, in which legs swing once to and fro: who goes slowly steps slowly."""
CHUNK = 16
"""Clips of one subject drawn at once on a CPU: small enough to stay in its caches."""
OWN_DRAWS = 12


@dataclass(frozen=True)
class Scene:
    """What a clip shows, each attribute one of the tuples above."""

    subject: str
    colour: str
    setting: str
    motion: str


@dataclass
class Clips:
    """Rendered clips: ``frames`` ``(n, F, 3, H, W)`` float32 in [0, 1] and the truth about the subject in pixels.

    ``centre`` ``(n, F, 2)``: x, y of the subject's own centre; ``extent`` ``(n, F, 2)``: width and height of the box
    around its visible part; ``mask`` ``(n, F, H, W)``: its coverage in [0, 1]; ``amplitude`` ``(n,)``: how much it
    moves, in the units of `AMPLITUDES`: world units and turns, whatever the size of a frame.
    """

    frames: Tensor
    centre: Tensor
    extent: Tensor
    mask: Tensor
    amplitude: Tensor


def _sensible(scene: Scene) -> bool:
    if scene.colour == "white" and scene.setting == "snow":
        return False
    if scene.motion == "spin" and scene.subject not in ("ball", "star", "box"):
        return False
    if scene.motion == "jump" and scene.subject in ("bird", "boat"):
        return False
    if scene.subject == "boat":
        return scene.setting == "sea"
    return scene.setting != "sea" or scene.subject not in ("car", "person", "dog")


def all_scenes() -> tuple[Scene, ...]:
    """Every combination that makes sense, in a fixed order."""
    return tuple(filter(_sensible, (Scene(*values) for values in product(SUBJECTS, COLOURS, SETTINGS, MOTIONS))))


def split(scene: Scene) -> Literal["train", "unseen"]:
    """Which side a combination is on: one in seven is held out, every pair of values stays in training."""
    code = (
        SUBJECTS.index(scene.subject)
        + 2 * COLOURS.index(scene.colour)
        + 3 * SETTINGS.index(scene.setting)
        + MOTIONS.index(scene.motion)
    )
    return "unseen" if code % 7 == 3 else "train"


def sample_scenes(
    count: int, generator: torch.Generator, which: Literal["train", "unseen", "all"] = "train"
) -> list[Scene]:
    """Scenes drawn with replacement: every subject equally often, the other attributes evenly within it."""
    scenes = [scene for scene in all_scenes() if which in ("all", split(scene))]
    of_subject = {name: sum(scene.subject == name for scene in scenes) for name in SUBJECTS}
    weights = torch.tensor([1 / of_subject[scene.subject] for scene in scenes], device=generator.device)
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    return [scenes[i] for i in chosen.tolist()]


@dataclass
class _Tracks:
    """How subjects move, in world units and radians: tensors ``(b, F)``; the last four ``(b,)``."""

    x: Tensor
    y: Tensor
    squash: Tensor
    angle: Tensor
    roll: Tensor
    swing: Tensor
    counter: Tensor
    flap: Tensor
    lift: Tensor
    scale: Tensor
    facing: Tensor
    bottom: Tensor
    amplitude: Tensor

    def part(self, which: Tensor) -> _Tracks:
        return _Tracks(*(getattr(self, field.name)[which] for field in fields(self)))


def _is(scenes: list[Scene], attribute: str, *values: str, device: torch.device) -> Tensor:
    return torch.tensor([getattr(scene, attribute) in values for scene in scenes], device=device)


def _tracks(scenes: list[Scene], draws: Tensor, num_frames: int) -> _Tracks:
    """Turns uniforms ``(n, OWN_DRAWS)`` into smooth motion over the frames."""
    device = draws.device

    def spread(index: int, low: float, high: float) -> Tensor:
        return (low + (high - low) * draws[:, index]).unsqueeze(1)

    def where(attribute: str, *values: str) -> Tensor:
        return _is(scenes, attribute, *values, device=device).unsqueeze(1)

    time = torch.linspace(0, 1, num_frames, device=device) if num_frames > 1 else torch.zeros(1, device=device)
    beat = math.tau * time * (num_frames - 1) / num_frames if num_frames > 1 else time
    moving = where("motion", "left", "right")
    jumping, spinning = where("motion", "jump"), where("motion", "spin")
    aloft, afloat = where("subject", "bird"), where("setting", "sea") & ~where("subject", "bird")
    sign = 1.0 - 2.0 * where("motion", "left").float()
    facing = torch.where(moving, sign, torch.where(spread(0, 0, 1) < 0.5, -1.0, 1.0))

    large = torch.tensor([subjects.ENLARGED.get(scene.subject, 1.0) for scene in scenes], device=device)
    scale = spread(1, 0.93, 1.08) * large.unsqueeze(1)
    height = torch.tensor([subjects.SIZES[scene.subject][1] for scene in scenes], device=device).unsqueeze(1) * scale
    bottom = torch.where(aloft, 40.0 + spread(5, -4.0, 4.0), torch.where(afloat, 53.5, 55.5) + spread(5, -1.5, 1.5))
    least, greatest = torch.tensor([AMPLITUDES[scene.motion] for scene in scenes], device=device).split(1, dim=1)
    # No head leaves the frame.
    greatest = torch.where(jumping, greatest.minimum(bottom - height - 1.0), greatest)
    amplitude = least + (greatest - least) * spread(2, 0, 1)
    travelled = amplitude * time * moving
    ahead = sign * START * amplitude + spread(3, -1.0, 1.0)
    start = 32.0 + torch.where(moving, ahead, spread(3, -7.0, 7.0))
    # Squared sines land softly: two hops without the infinite jerk of a bouncing point.
    hop = jumping * (beat + spread(4, -0.3, 0.3)).sin().square()
    lift = hop * amplitude / JUMP[1]
    squash = 1 - 0.12 * jumping * amplitude / JUMP[1] * (1 - hop).pow(3)
    bob = where("subject", "boat") * 0.8 * (beat * 2 + spread(6, 0, math.tau)).sin()
    y = bottom - 0.5 * height * squash - JUMP[1] * lift + bob

    phase = spread(6, 0, math.tau)
    gait = math.tau * travelled / (STRIDE * scale) + phase
    rolls = where("subject", "ball") & moving
    rest = torch.where(where("subject", "ball"), spread(9, -0.9, 0.9), 0.0)
    angle = rest + sign * travelled / (14.0 * scale) * rolls + math.tau * amplitude * time * spinning
    angle = angle + where("subject", "boat") * 0.05 * (beat * 2 + phase + 1.2).sin()
    air = (0.45 * lift).expand(-1, num_frames)
    return _Tracks(
        x=start + sign * travelled,
        y=y,
        squash=squash.expand(-1, num_frames),
        angle=angle,
        roll=spread(9, 0, math.pi) + travelled / (4.5 * scale),
        swing=moving * gait.sin() + air,
        counter=moving * (gait + 0.9).sin() - air,
        flap=(beat * 3 + phase).sin(),
        lift=lift.expand(-1, num_frames),
        scale=scale.squeeze(1),
        facing=facing.squeeze(1),
        bottom=bottom.squeeze(1),
        amplitude=amplitude.squeeze(1),
    )


def _colours(scenes: list[Scene], device: torch.device) -> tuple[Tensor, Tensor]:
    """Main and second colour of each scene, ``(b, 1, 3, 1, 1)``."""
    main = torch.tensor([subjects.PALETTE[scene.colour] for scene in scenes], device=device)
    second = torch.tensor([subjects.SECOND[scene.colour] for scene in scenes], device=device)
    return main.view(-1, 1, 3, 1, 1), second.view(-1, 1, 3, 1, 1)


def _draw(scenes: list[Scene], tracks: _Tracks, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Subjects of one kind in windows of p x p pixels: colour, coverage, the windows' rows, columns ``(b, F, p)``."""
    device = tracks.x.device
    unit = WORLD / size
    side = min(size, math.ceil(WINDOW / unit))
    steps = torch.arange(side, device=device)
    first = [((centre / unit).round().long() - side // 2).clamp(0, size - side) for centre in (tracks.x, tracks.y)]
    columns, rows = (corner.unsqueeze(-1) + steps for corner in first)
    wide, high = ((cells.float() + 0.5) * unit for cells in (columns, rows))
    scale = tracks.scale.view(-1, 1, 1)
    across = (wide - tracks.x.unsqueeze(-1)) / (scale / tracks.squash.unsqueeze(-1))
    down = (high - tracks.y.unsqueeze(-1)) / (scale * tracks.squash.unsqueeze(-1))
    x = (across * tracks.facing.view(-1, 1, 1)).unsqueeze(-2).expand(-1, -1, side, -1)
    y = down.unsqueeze(-1).expand(-1, -1, -1, side)

    def cell(value: Tensor) -> Tensor:
        return value.unsqueeze(-1).unsqueeze(-1)

    main, second = _colours(scenes, device)
    # The frame of a subject that faces left is mirrored, so turns that are given on the screen change their sign.
    pose = subjects.Pose(
        x=x,
        y=y,
        angle=cell(tracks.angle * tracks.facing.unsqueeze(1)),
        roll=cell(tracks.roll),
        swing=cell(tracks.swing),
        counter=cell(tracks.counter),
        flap=cell(tracks.flap),
        lift=cell(tracks.lift),
        main=main,
        second=second,
    )
    layer = Layer(tuple(x.shape), unit / tracks.scale.view(-1, 1, 1, 1))
    subjects.DRAWINGS[scenes[0].subject](layer, pose)

    afloat = _is(scenes, "setting", "sea", device=device) & ~_is(scenes, "subject", "bird", device=device)
    ripple = 0.6 * (wide * 0.7).sin().unsqueeze(-2)
    depth = high.unsqueeze(-1) - (tracks.bottom.view(-1, 1, 1, 1) - 3.0 + ripple)
    dry = (0.5 - depth / unit).clamp(0, 1)
    foam = (0.5 - ((depth + 0.6).abs() - 0.7) / unit).clamp(0, 1) * afloat.view(-1, 1, 1, 1)
    colour = torch.lerp(layer.colour, layer.colour.new_tensor(FOAM).view(3, 1, 1), foam.unsqueeze(2))
    alpha = torch.where(afloat.view(-1, 1, 1, 1), layer.alpha * dry, layer.alpha)
    return colour, alpha, rows, columns


def _shade(frames: Tensor, scenes: list[Scene], tracks: _Tracks) -> None:
    """Darkens the ground under the subjects in place; the higher they are, the fainter."""
    size = frames.shape[-1]
    unit = WORLD / size
    top = int(size * 0.7)
    middle = (torch.arange(size, device=frames.device) + 0.5) * unit
    width = torch.tensor([subjects.SIZES[scene.subject][0] for scene in scenes], device=frames.device) * tracks.scale
    strength = torch.tensor([settings.GROUND_SHADOW[scene.setting] for scene in scenes], device=frames.device)
    aloft = _is(scenes, "subject", "bird", device=frames.device)
    ground = torch.where(aloft, 57.0, tracks.bottom)
    across = (middle - tracks.x.unsqueeze(-1)) / (0.5 * width.view(-1, 1, 1) * (1 - 0.25 * tracks.lift.unsqueeze(-1)))
    down = (middle[top:] - ground.view(-1, 1)) / 2.2
    radius = across.square().unsqueeze(-2) + down.square().view(len(scenes), 1, -1, 1)
    faint = strength.view(-1, 1) * (1 - 0.4 * tracks.lift) * torch.where(aloft, 0.6, 1.0).view(-1, 1)
    shadow = faint.view(*faint.shape, 1, 1) * (1.8 * (1 - radius)).clamp(0, 1)
    frames[..., top:, :] *= 1 - shadow.unsqueeze(2)


def _extent(mask: Tensor) -> Tensor:
    """Width and height ``(n, F, 2)`` in pixels of the box around what is covered by half or more."""
    inside = mask >= 0.5
    spans = []
    for line in (inside.any(-2), inside.any(-1)):
        cells = torch.arange(line.shape[-1], device=mask.device)
        last = torch.where(line, cells, -1).amax(-1)
        first = torch.where(line, cells, line.shape[-1]).amin(-1)
        spans.append((last - first + 1).clamp_min(0))
    return torch.stack(spans, -1).float()


def _by(scenes: list[Scene], attribute: str) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, scene in enumerate(scenes):
        groups.setdefault(getattr(scene, attribute), []).append(i)
    return groups


def render(
    scenes: list[Scene],
    generator: torch.Generator,
    num_frames: int = 16,
    size: int = 64,
    device: str | torch.device = "cpu",
) -> Clips:
    """Renders one clip of ``size`` x ``size`` pixels for each scene, varied by the generator (on any device)."""
    device = torch.device(device)
    draws = torch.rand(len(scenes), OWN_DRAWS + settings.DRAWS, generator=generator, device=generator.device)
    draws = draws.to(device)
    own, scenery = draws[:, :OWN_DRAWS], draws[:, OWN_DRAWS:].contiguous()
    horizon = 39.0 + 4.0 * (own[:, 10] - 0.5)
    tracks = _tracks(scenes, own, num_frames)

    frames = torch.empty(len(scenes), num_frames, 3, size, size, device=device)
    for setting, members in _by(scenes, "setting").items():
        which = torch.tensor(members, device=device)
        frames[which] = settings.backdrop(setting, scenery[which], horizon[which], size).unsqueeze(1)
    mask = torch.zeros(len(scenes), num_frames, size, size, device=device)
    chunk = CHUNK if device.type == "cpu" else len(scenes)
    moment = torch.arange(num_frames, device=device).view(1, -1, 1, 1)
    for members in _by(scenes, "subject").values():
        for begin in range(0, len(members), chunk):
            numbers = members[begin : begin + chunk]
            which = torch.tensor(numbers, device=device)
            kin, part = [scenes[i] for i in numbers], tracks.part(which)
            picture = frames[which]
            _shade(picture, kin, part)
            colour, alpha, rows, columns = _draw(kin, part, size)
            order = torch.arange(len(numbers), device=device).view(-1, 1, 1, 1)
            place = (order, moment, rows[..., :, None], columns[..., None, :])
            pixels = picture.movedim(2, -1)
            pixels[place] = torch.lerp(pixels[place], colour.movedim(2, -1), alpha.unsqueeze(-1))
            frames[which] = picture
            mask[(which.view(-1, 1, 1, 1), *place[1:])] = alpha
    centre = torch.stack((tracks.x, tracks.y), -1) * (size / WORLD)
    return Clips(frames.clamp_(0, 1), centre, _extent(mask), mask, tracks.amplitude)
