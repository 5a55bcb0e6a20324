"""By what clips are chosen. Importing this imports no torch."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

Aim: TypeAlias = Literal["motion", "structure", "both"]
AIMS: Final[tuple[Aim, ...]] = get_args(Aim)
