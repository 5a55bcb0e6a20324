"""Captions of scenes in plain English: several templates, a few synonyms, a small closed vocabulary.

Most say nothing of how much the subject moves; the others say it with a word that is true of their clip.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

from research.diorama.amplitudes import degree

if TYPE_CHECKING:
    from research.diorama.world import Scene

NOUNS = {
    "ball": ("ball", "ball", "striped ball"),
    "star": ("star",),
    "box": ("box", "box", "gift box"),
    "car": ("car", "car", "automobile"),
    "person": ("person", "person", "man", "walker"),
    "dog": ("dog", "dog", "puppy"),
    "bird": ("bird",),
    "boat": ("boat", "boat", "sailboat"),
}
PLACES = {
    "meadow": ("in a meadow", "on the grass", "on grass", "in a field", "in a green meadow"),
    "snow": ("in the snow", "in snow", "on the snow", "on snow"),
    "desert": ("in the desert", "on sand", "on the sand", "in the dunes"),
    "night": ("at night", "in the moonlight", "in the dark"),
    "sea": ("on the sea", "on the water", "on the ocean"),
}
PLACES_ALOFT = {
    "meadow": ("over a meadow", "over the grass", "over a field", "in a meadow"),
    "snow": ("over the snow", "over snow", "in the snow"),
    "desert": ("over the desert", "over the sand", "over the dunes", "in the desert"),
    "night": PLACES["night"],
    "sea": ("over the sea", "over the water", "over the ocean"),
}
# Pairs of participle and finite form.
TRAVEL = {
    "ball": (("rolling", "rolls"), ("moving", "moves")),
    "star": (("sliding", "slides"), ("moving", "moves")),
    "box": (("sliding", "slides"), ("moving", "moves")),
    "car": (("driving", "drives"), ("driving", "drives"), ("moving", "moves")),
    "person": (("walking", "walks"), ("walking", "walks"), ("moving", "moves")),
    "dog": (("running", "runs"), ("walking", "walks"), ("moving", "moves")),
    "bird": (("flying", "flies"), ("flying", "flies"), ("moving", "moves")),
    "boat": (("sailing", "sails"), ("sailing", "sails"), ("moving", "moves")),
}
HOPS = (("jumping", "jumps"), ("bouncing", "bounces"), ("hopping", "hops"))
JUMP = (
    *HOPS,
    ("jumping up and down", "jumps up and down"),
    ("bouncing up and down", "bounces up and down"),
)
SPIN = (
    ("spinning", "spins"),
    ("spinning in place", "spins in place"),
    ("turning around", "turns around"),
    ("rotating", "rotates"),
)
UNMOVED = ("not moving", "does not move")
STILL = {
    "ground": (("standing still", "stands still"), ("resting", "rests"), UNMOVED),
    "water": (("floating still", "floats still"), ("resting", "rests"), UNMOVED),
    "bird": (("hovering", "hovers"), ("hovering in place", "hovers in place"), UNMOVED),
}
DIRECTIONS = {"left": ("left", "to the left", "leftwards"), "right": ("right", "to the right", "rightwards")}

TEMPO = {"low": ("slowly",), "high": ("fast", "quickly")}
HEIGHT = {"low": ("a little",), "high": ("high",)}
WORDED = 0.4
"""Share of the clips with an amplitude for which there is a word whose captions say it."""


def _verb(scene: Scene, rng: random.Random, amount: Literal["low", "high"] | None) -> tuple[str, str]:
    """Participle and finite form of what the subject does, and how much."""
    if scene.motion in DIRECTIONS:
        pair, after = rng.choice(TRAVEL[scene.subject]), rng.choice(DIRECTIONS[scene.motion])
        if amount:
            after = f"{rng.choice(TEMPO[amount])} {after}"
    elif scene.motion == "jump":
        # Nobody jumps up and down high.
        pair, after = rng.choice(HOPS if amount else JUMP), rng.choice(HEIGHT[amount]) if amount else ""
    elif scene.motion == "spin":
        pair, after = rng.choice(SPIN), rng.choice(TEMPO[amount]) if amount else ""
    else:
        resting = "bird" if scene.subject == "bird" else "water" if scene.setting == "sea" else "ground"
        pair, after = rng.choice(STILL[resting]), ""
    participle, finite = (f"{verb} {after}".strip() for verb in pair)
    return participle, finite


def caption(scene: Scene, rng: random.Random, amplitude: float | None = None) -> str:
    """A sentence that says all four attributes of the scene, in lower case and without punctuation.

    Args:
        amplitude: how much moves in the clip, as `world.Clips` gives it. A part of the captions says so; None: none
            does.
    """
    noun = rng.choice(NOUNS[scene.subject])
    if scene.subject == "person" and rng.random() < 0.8:
        subject = f"a {noun} in {scene.colour}"
    else:
        subject = f"a {scene.colour} {noun}"
    place = rng.choice((PLACES_ALOFT if scene.subject == "bird" else PLACES)[scene.setting])
    if scene.setting == "snow" and scene.motion in DIRECTIONS and scene.subject in ("person", "dog", "car"):
        place = rng.choice((place, "through snow", "through the snow"))
    amount = None if amplitude is None or rng.random() >= WORDED else degree(scene.motion, amplitude)
    participle, finite = _verb(scene, rng, amount)
    return rng.choice(
        (
            f"{subject} {participle} {place}",
            f"{subject} {participle} {place}",
            f"{subject} is {participle} {place}",
            f"{subject} {finite} {place}",
            f"{subject} {place} {participle}",
            f"{place} {subject} {finite}",
            f"{place} {subject} is {participle}",
        )
    )


def vocabulary() -> tuple[str, ...]:
    """Every word that captions can contain: lower case, sorted."""
    from research.diorama.world import COLOURS

    phrases = [*COLOURS, "is", "through", *(verb for pair in (*JUMP, *SPIN) for verb in pair)]
    for table in (NOUNS, PLACES, PLACES_ALOFT, DIRECTIONS, TEMPO, HEIGHT):
        phrases += [phrase for group in table.values() for phrase in group]
    for verbs in (TRAVEL, STILL):
        phrases += [verb for group in verbs.values() for pair in group for verb in pair]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))
