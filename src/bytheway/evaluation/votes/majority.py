"""What most people said of each pair, for a judge to be held against."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Literal, TypeAlias

from bytheway.evaluation.votes.exclusions import CHOICES
from bytheway.evaluation.votes.results import counted_ballots
from bytheway.evaluation.votes.store import Store
from bytheway.evaluation.votes.study import Study

Preferred: TypeAlias = Literal["first", "second", "tie"]
"""Of a pair: its first clip, its second, or neither."""


def majorities(store: Store, study: Study, baseline: str) -> dict[tuple[str, str, int, str], Preferred]:
    """What most votes said of each pair whose first clip is of the baseline.

    Checks, repeats and people who are left out do not count. Both bad counts as a tie, and where no answer has more
    votes than each of the others, it is one as well.

    Returns:
        By the question's name, the prompt, the number of its seed and the other arm's name.
    """
    counts: defaultdict[tuple[str, str, int, str], Counter[str]] = defaultdict(Counter)
    for one in counted_ballots(store.ballots(), study)[0]:
        pair = study.pairs[one.item.pair]
        if pair.arms[0] == baseline:
            choice = one.choice if one.choice in CHOICES else "tie"
            counts[one.question, pair.prompt, pair.seed, pair.arms[1]][choice] += 1
    return {key: _most(its) for key, its in counts.items()}


def _most(counts: Counter[str]) -> Preferred:
    if counts["first"] > max(counts["second"], counts["tie"]):
        return "first"
    return "second" if counts["second"] > max(counts["first"], counts["tie"]) else "tie"
