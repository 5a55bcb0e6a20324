"""Which clip of one set goes with which of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import ClipFile


@dataclass(frozen=True)
class Pairing:
    """Clips of two sets that belong together.

    Attributes:
        pairs: one clip of the first set and one of the second each, in the first set's order.
        alone: clips without a partner, of both sets.
    """

    pairs: tuple[tuple[ClipFile, ClipFile], ...]
    alone: tuple[ClipFile, ...]


def pair(first: Sequence[ClipFile], second: Sequence[ClipFile]) -> Pairing:
    """Pair clips by the prompt and the seed that both carry, and what is left by their names without endings.

    A clip that carries prompt and seed is never paired by its name with one that carries others: numbered files have
    the same names whatever they show.

    Raises:
        ByTheWayError: two clips of a set carry the same prompt and seed, or have the same name, or there is no pair.
    """
    made_from = {clip.made_from: clip for clip in _each_once(second, by_settings=True)}
    named = {clip.name: clip for clip in _each_once(second, by_settings=False)}
    _each_once(first, by_settings=True)
    _each_once(first, by_settings=False)
    partners = [made_from.get(clip.made_from) if clip.made_from else None for clip in first]
    taken = {id(partner) for partner in partners}
    for index, clip in enumerate(first):
        partner = named.get(clip.name)
        if partners[index] is None and partner is not None and not (clip.made_from and partner.made_from):
            partners[index] = None if id(partner) in taken else partner
    pairs = [(clip, partner) for clip, partner in zip(first, partners, strict=True) if partner is not None]
    taken = {id(clip) for both in pairs for clip in both}
    alone = tuple(clip for clip in (*first, *second) if id(clip) not in taken)
    if not pairs:
        raise ByTheWayError(
            f"No clip has a partner: {first[0].path} and {second[0].path} share neither prompt and seed nor a name."
        )
    return Pairing(tuple(pairs), alone)


def _each_once(clips: Sequence[ClipFile], *, by_settings: bool) -> list[ClipFile]:
    """Those that have such a key, each with one of its own."""
    seen: dict[object, ClipFile] = {}
    for clip in clips:
        key = clip.made_from if by_settings else clip.name
        if key is None:
            continue
        if key in seen:
            what = "carry the same prompt and seed" if by_settings else "have the same name"
            raise ByTheWayError(f"{seen[key].path} and {clip.path} {what}; leave one of them out.")
        seen[key] = clip
    return list(seen.values())
