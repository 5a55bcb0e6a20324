"""Whether people agree more than chance makes them: Krippendorff's alpha."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np


def krippendorff_alpha(units: Iterable[Sequence[Hashable]]) -> float:
    """Krippendorff's alpha for categories (Krippendorff, Content Analysis, 4th ed. 2019, chapter 12).

    Args:
        units: for each thing that was judged, the categories that people gave it, one for each person; people may be
            missing. What fewer than two people judged does not count.

    Returns:
        1 where all agree, 0 where they agree as often as chance would make them, below 0 for less; NaN where nothing
        was judged twice, or everybody gave the same category throughout.
    """
    judged = [Counter(unit) for unit in units if len(unit) > 1]
    totals: Counter[Hashable] = sum(judged, Counter())
    n = totals.total()
    observed = sum((unit.total() ** 2 - _squares(unit)) / (unit.total() - 1) for unit in judged)
    expected = n**2 - _squares(totals)
    return float(1 - (n - 1) * observed / expected) if expected else float(np.nan)


def _squares(counts: Counter[Hashable]) -> int:
    return sum(count**2 for count in counts.values())
