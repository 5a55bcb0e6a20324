"""The arms of an experiment: ways of making the same clips."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError

VANILLA, ENHANCED, FREE_INIT = "vanilla", "enhanced", "freeinit"
USUAL: Final = (VANILLA, ENHANCED)

_NOT_IN_A_LIST: Final = r"(?![^\[]*\])"
_BETWEEN_ARMS: Final = re.compile("," + _NOT_IN_A_LIST)
_BETWEEN_WORDS: Final = re.compile(r"\s+" + _NOT_IN_A_LIST)


@dataclass(frozen=True)
class Arm:
    """One way of making clips.

    Attributes:
        name: as it was asked for: "vanilla", "enhanced", "freeinit", or settings such as "alpha=0.4 beta=3".
        method: whether the method is on.
        changes: settings of the method that differ from the preset of the model.
        free_init: whether the clips are made with FreeInit.
    """

    name: str
    method: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    free_init: bool = False

    @property
    def folder(self) -> str:
        """The name of its folder in the experiment's."""
        return re.sub(r"[^\w.=+-]+", "_", self.name)

    def config(self, preset: ByTheWayConfig) -> ByTheWayConfig | None:
        """The config of the method, None where it is off; `preset`: that of the model."""
        return preset.replace(**self.changes) if self.method else None


def parse_arms(text: str, fewest: int = 2) -> tuple[Arm, ...]:
    """The arms that a list such as "vanilla,enhanced,freeinit,alpha=0.4 beta=3" names; the first is the baseline.

    An arm is "vanilla", "enhanced" (the preset of the model), "freeinit", or settings of the method, separated by
    spaces, that differ from the preset, as TOML has them: guided_blocks=["up_blocks.1"]. "freeinit" and settings go
    together.

    Args:
        text: the list.
        fewest: how many there have to be.

    Raises:
        ByTheWayError: an arm is unknown or there twice, or there are too few.
    """
    arms = [parse_arm(part.strip()) for part in _BETWEEN_ARMS.split(text) if part.strip()]
    for number, one in enumerate(arms):
        if one.folder in {other.folder for other in arms[:number]}:
            raise ByTheWayError(f"The arm {one.name!r} is there twice; name each once.")
    if len(arms) < fewest:
        raise ByTheWayError(
            "An experiment compares at least two arms, such as vanilla,enhanced."
            if fewest > 1
            else f"There is no arm; name {VANILLA}, {ENHANCED}, {FREE_INIT}, or settings such as 'alpha=0.4 beta=3'."
        )
    return tuple(arms)


def parse_arm(name: str) -> Arm:
    """One arm by its name, as `parse_arms` reads it.

    Raises:
        ByTheWayError: there is no such arm.
    """
    words = _BETWEEN_WORDS.split(name.strip())
    if words == [VANILLA]:
        return Arm(VANILLA)
    settings = {}
    for word in words:
        key, sign, value = word.partition("=")
        if key in settings:
            raise ByTheWayError(f"The arm {name!r} gives {key} twice; give it once.")
        if sign:
            settings[key] = parse_value(value)
        elif word not in (ENHANCED, FREE_INIT):
            raise ByTheWayError(
                f"There is no arm {name!r}; name {VANILLA}, {ENHANCED}, {FREE_INIT}, or settings such as "
                "'alpha=0.4 beta=3'."
            )
    ByTheWayConfig().replace(**settings)
    return Arm(" ".join(words), bool(settings) or ENHANCED in words, settings, FREE_INIT in words)


def parse_value(text: str) -> Any:
    """What a text says: a number, a list or such, as TOML has it; else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
