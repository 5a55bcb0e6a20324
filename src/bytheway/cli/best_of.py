"""How many seeds are begun and finished, as the options say it. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from bytheway.errors import ByTheWayError
from bytheway.selection.aim import Aim


@dataclass(frozen=True)
class BestOf:
    """How many seeds of each prompt are begun, how many of them are finished, and by what they are chosen."""

    seeds: int
    keep: int
    aim: Aim


def best_of_options(
    seeds: int | None, keep: int | None, aim: Aim | None, num_videos: int, skip_existing: bool
) -> BestOf | None:
    """What the options say; None where no seeds are to be chosen among.

    Raises:
        ByTheWayError: they contradict each other.
    """
    if seeds is None:
        if keep is not None or aim is not None:
            raise ByTheWayError("--keep and --aim say how to choose among seeds; say among how many with --best-of.")
        return None
    if num_videos > 1:
        raise ByTheWayError("--best-of says how many clips are begun, and --keep how many made; leave --num-videos.")
    if skip_existing:
        raise ByTheWayError(
            "Which seeds are kept is known only after their first steps, so that no clip that is there can be told to "
            "be one of them; leave --skip-existing."
        )
    keep = 1 if keep is None else keep
    if not 1 <= keep < seeds:
        raise ByTheWayError(f"--keep is {keep} of {seeds} seeds; keep at least one, and fewer than --best-of begins.")
    return BestOf(seeds, keep, aim or "both")
