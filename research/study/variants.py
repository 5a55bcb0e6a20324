"""How clips are made: as the model is, with FreeInit, under some settings of the method, with filtered maps; and others
that are no samples of a prompt: clips whose prompt changes on the way, and renders.

Every treatment has a key that says all about it. Results are stored under their keys, so that a sweep shares the points
that other parts have made, and a change of the settings leaves the rest valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, get_args

from bytheway.config import ByTheWayConfig, HeadRule
from bytheway.families.animatediff import PACKAGED
from bytheway.families.known import known_models, preset_of_model, presets

Band = Literal["low", "high", "amplified"]

PAPER: Final = presets()["animatediff"].config
"""The paper's settings for AnimateDiff, whose architecture diorama's is."""
PAPER_VIDEOCRAFTER: Final = presets()["videocrafter2"].config
"""The paper's other settings: less guidance, more amplification."""


@dataclass(frozen=True)
class Variant:
    """One way of sampling a prompt.

    Attributes:
        config: settings of the method; None: it is off. With `band`, tells the band (tau) and the amplification (beta).
        free_init: FreeInit with three iterations.
        band: what is kept of the maps of the decoder's temporal attention, in all steps (the paper's Figure 5).
    """

    config: ByTheWayConfig | None = None
    free_init: bool = False
    band: Band | None = None

    @property
    def key(self) -> str:
        if self.free_init:
            return "free_init"
        if self.config is None:
            return "vanilla"
        c = self.config
        if self.band is not None:
            gain = f"-beta{c.beta:g}" if self.band == "amplified" else ""
            return f"{self.band}-tau{c.tau}{gain}"
        heads = "" if c.head_rule == PAPER.head_rule else f"-{c.head_rule}"
        return (
            f"alpha{c.alpha:g}-beta{c.beta:g}-tau{c.tau}-active{c.active_steps:g}-{c.beta_rule}"
            f"-{c.anchor_block or 'auto'}{heads}"
        )

    @property
    def recorded(self) -> bool:
        """Whether its first clips come with a record: vanilla, the paper's settings, and these in all steps."""
        if self.free_init or self.band is not None:
            return False
        return self.config is None or self.config.replace(active_steps=PAPER.active_steps) == PAPER


@dataclass(frozen=True)
class Swap:
    """Clips whose prompt gives way to another after k steps, for every k from none to all."""

    key: str = "swap"


@dataclass(frozen=True)
class Renders:
    """True clips of the prompts' scenes: `copies` of each, from a stream of random numbers of their own."""

    key: str
    copies: int
    stream: int


Treatment = Variant | Swap | Renders

WORLD = "world"
"""Stands in place of a model where the renderer is meant."""
RENDERS = Renders("renders", 1, 1)
REFERENCE = Renders("reference", 4, 2)

VANILLA = Variant()
BOTH = Variant(PAPER)
EVERY_STEP = Variant(PAPER.replace(active_steps=1.0))
PRESET = "preset"


def preset_of(model: str) -> Variant:
    """The preset of the packaged model of this name; that of diorama where there is none of the name."""
    named = {known.name: preset_of_model(known) for known in known_models()}
    return Variant(named.get(model, presets()[PACKAGED]).config)


def cells(model: str) -> dict[str, Variant]:
    """What is compared on a model: vanilla, FreeInit, the method taken apart, the paper's settings, its preset."""
    return {
        "vanilla": VANILLA,
        "+FreeInit": Variant(free_init=True),
        "guidance only": Variant(PAPER.replace(beta=1.0)),
        "motion only": Variant(PAPER.replace(alpha=0.0)),
        "both": BOTH,
        "both, as for VideoCrafter2": Variant(PAPER_VIDEOCRAFTER),
        PRESET: preset_of(model),
    }


BANDS: Final[Mapping[str, Variant]] = {
    "vanilla": VANILLA,
    "low band only": Variant(PAPER, band="low"),
    "high band only": Variant(PAPER, band="high"),
    "high band amplified": Variant(PAPER, band="amplified"),
}


class Axis(StrEnum):
    """A setting that is varied about the paper's."""

    ALPHA = "alpha"
    BETA = "beta"
    TAU = "tau"
    ACTIVE_STEPS = "active_steps"
    ANCHOR_BLOCK = "anchor_block"
    HEAD_RULE = "head_rule"
    STRENGTH = "alpha and beta"


_POINTS: Final[Mapping[Axis, tuple[float, ...]]] = {
    Axis.ALPHA: (0, 0.2, 0.4, 0.6, 0.8, 1),
    Axis.BETA: (1, 1.25, 1.5, 2, 3, 5, 10),
    Axis.TAU: (0, 2, 4, 5, 6, 7),
    Axis.ACTIVE_STEPS: (0.1, 0.2, 0.4, 0.6, 1),
}
_ALPHAS, _BETAS = (0.0, 0.1, 0.2, 0.4, 0.6), (1.5, 2.0, 3.0, 5.0)
# diorama's own is up_blocks.0, the coarsest block of the decoder; up_blocks.2, the last, guides nothing.
_ANCHORS: Final[Mapping[str, str | None]] = {
    "mid_block": "mid_block",
    "up_blocks.0": None,
    "up_blocks.1": "up_blocks.1",
}


def sweep(axis: Axis) -> dict[str, Variant]:
    """The paper's settings with one of them varied, by its value, or alpha and beta together."""
    if axis is Axis.STRENGTH:
        return {f"{a:g}, {b:g}": Variant(PAPER.replace(alpha=a, beta=b)) for a in _ALPHAS for b in _BETAS}
    if axis is Axis.ANCHOR_BLOCK:
        return {name: Variant(PAPER.replace(anchor_block=block)) for name, block in _ANCHORS.items()}
    if axis is Axis.HEAD_RULE:
        return {rule: Variant(PAPER.replace(head_rule=rule)) for rule in get_args(HeadRule)}
    points = sorted({*_POINTS[axis], getattr(PAPER, axis)})
    whole = axis is Axis.TAU
    return {f"{point:g}": Variant(PAPER.replace(**{axis: int(point) if whole else point})) for point in points}


def paper_point(axis: Axis) -> str | None:
    """The point of a sweep that is the paper's settings."""
    return next((point for point, variant in sweep(axis).items() if variant == BOTH), None)
