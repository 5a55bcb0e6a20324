"""The clips of a page: a card for each prompt and seed, with the clips of all arms side by side and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from bytheway.evaluation.comparison import Comparison
from bytheway.evaluation.report.plots import curves
from bytheway.evaluation.report.strips import strip_of
from bytheway.evaluation.report.words import said
from bytheway.evaluation.scores import ClipScores, json_ready

MOST_SHOWN: Final = 30
"""Pairs whose clips are on a page, at most: the worst and the best of every measure."""

OnStrip: TypeAlias = Callable[[int, int], None]
"""Hears of each clip that is put on a page: how many are, and of how many."""


Remarks: TypeAlias = Mapping[Path, Sequence[str]]
"""What is said of a pair in sentences, by the path of the baseline's clip."""


@dataclass(frozen=True)
class Card:
    """A prompt and seed with the clips of all arms.

    Attributes:
        id: on the page.
        clips: scores by the arm's number.
        places: where the pair is in each comparison, by the comparison's number.
    """

    id: str
    clips: dict[int, ClipScores]
    places: dict[int, int]

    @property
    def baseline(self) -> ClipScores:
        return self.clips[0]

    @property
    def title(self) -> str:
        made_from = self.baseline.clip.made_from
        return f"{self.baseline.clip.prompt}, seed {made_from[1]}" if made_from else self.baseline.clip.prompt


def cards_of(comparisons: Sequence[Comparison]) -> list[Card]:
    """One for each clip of the baseline."""
    found: dict[Path, Card] = {}
    for c, comparison in enumerate(comparisons):
        for place, (first, second) in enumerate(comparison.pairs):
            card = found.setdefault(first.clip.path, Card(f"pair-{len(found) + 1}", {0: first}, {}))
            card.clips[c + 1] = second
            card.places[c] = place
    return list(found.values())


def worst_and_best(comparisons: Sequence[Comparison], cards: Sequence[Card]) -> list[Card]:
    """The cards whose clips are on the page: of every measure the worst and the best, until there are enough."""
    if len(cards) <= MOST_SHOWN:
        return list(cards)
    rankings: list[list[int]] = []
    for c, comparison in enumerate(comparisons):
        numbered = [(card.places[c], n) for n, card in enumerate(cards) if c in card.places]
        for one in comparison.contrasts:
            known = [(one.differences[place], n) for place, n in numbered if not np.isnan(one.differences[place])]
            ranked = [n for _, n in sorted(known)]
            rankings += [ranked, ranked[::-1]]
    chosen: dict[int, None] = {}
    for depth in range(len(cards)):
        for ranking in rankings:
            if len(chosen) < MOST_SHOWN and depth < len(ranking):
                chosen[ranking[depth]] = None
    return [card for n, card in enumerate(cards) if n in chosen]


def data_of(comparisons: Sequence[Comparison], shown: Sequence[Card]) -> dict[str, Any]:
    """What the page's script orders the cards by, and the values that it shows under the clips."""
    return {
        "orders": [
            {
                "key": f"{c}:{one.example.name}",
                "sign": -1 if one.example.direction == "lower" else 1,
                "said": f"{one.example.name}, {comparison.names[1]} less {comparison.names[0]}",
            }
            for c, comparison in enumerate(comparisons)
            for one in comparison.contrasts
        ],
        "differences": {
            card.id: {
                f"{c}:{one.example.name}": json_ready(float(one.differences[place]))
                for c, place in card.places.items()
                for one in comparisons[c].contrasts
            }
            for card in shown
        },
        "values": {
            card.id: {
                arm: {name: said(one.value) for name, one in clip.measurements.items()}
                for arm, clip in card.clips.items()
            }
            for card in shown
        },
    }


def pairs_section(
    comparisons: Sequence[Comparison],
    arms: Sequence[str],
    shown: Sequence[Card],
    total: int,
    remarks: Remarks,
    on_strip: OnStrip,
) -> str:
    """The clips side by side, and how to order and play them."""
    several = len(comparisons) > 1
    options = "".join(
        f'<option value="{c}:{escape(one.example.name)}">{escape(one.example.name)}'
        f"{f', {escape(comparison.names[1])}' if several else ''}</option>"
        for c, comparison in enumerate(comparisons)
        for one in comparison.contrasts
    )
    strips = sum(len(card.clips) for card in shown)
    cards, done = [], 0
    for card in shown:
        figures = []
        for arm in sorted(card.clips):
            figures.append(_figure(arms[arm], arm, card.clips[arm]))
            done += 1
            on_strip(done, strips)
        sentences = "".join(f"<li>{escape(one)}</li>" for one in remarks.get(card.baseline.clip.path, ()))
        beside = f'<ul class="cautions">{sentences}</ul>' if sentences else ""
        cards.append(
            f'<article id="{card.id}" class="card" style="--arms:{len(figures)}"><h3>{escape(card.title)}</h3>'
            f'<div class="clips">{"".join(figures)}</div>{beside}{_values(comparisons, arms, card)}</article>'
        )
    some = f" The {len(shown)} worst and best of {total} are shown." if len(shown) < total else ""
    return f"""<section id="clips">
<h2>The clips, in step</h2>
<p class="quiet">Same prompt and seed side by side.{some}</p>
<div class="controls" hidden>
<label>Order by <select id="order">{options}</select></label>
<label><select id="end"><option value="worst">worst first</option><option value="best">best first</option>
<option value="both">worst and best in turn</option></select></label>
<button id="play" type="button" aria-pressed="true">Pause</button>
<button id="back" type="button" aria-label="one frame back">−1 frame</button>
<button id="forward" type="button" aria-label="one frame on">+1 frame</button>
<label>Speed <select id="speed"><option value="0.25">¼</option><option value="0.5">½</option>
<option value="1" selected>1</option></select></label>
</div>
<div id="cards">{"".join(cards)}</div>
</section>"""


def _figure(name: str, arm: int, scores: ClipScores) -> str:
    strip = strip_of(scores.clip.path)
    style = (
        f"background-image:url({strip.uri});background-size:{100 * strip.columns}% {100 * strip.rows}%;"
        f"aspect-ratio:{strip.width}/{strip.height}"
    )
    return (
        f'<figure style="--arm:var(--arm-{arm % 6})"><div class="strip" role="img" aria-label="{escape(name)}" '
        f'data-frames="{strip.frames}" data-columns="{strip.columns}" data-rows="{strip.rows}" '
        f'data-fps="{strip.fps:g}" style="{style}"></div>'
        f'<figcaption>{escape(name)} <span class="value" data-arm="{arm}"></span></figcaption></figure>'
    )


def _values(comparisons: Sequence[Comparison], arms: Sequence[str], card: Card) -> str:
    """The measures of the clips of a card, with their course over the frames."""
    names = list(dict.fromkeys(name for clip in card.clips.values() for name in clip.measurements))
    heads = "".join(
        f'<th class="arm" style="--arm:var(--arm-{arm % 6})">{escape(arms[arm])}</th>' for arm in sorted(card.clips)
    )
    rows = []
    for name in names:
        found = {arm: clip.measurements.get(name) for arm, clip in sorted(card.clips.items())}
        cells = "".join(f"<td>{said(one.value) if one is not None else '–'}</td>" for one in found.values())
        series = [(f"line-{arm % 6}", one.at, one.values) for arm, one in found.items() if one is not None]
        rows.append(
            f"<tr><th scope='row'>{escape(name)}</th>{cells}<td>{curves(series, card.baseline.num_frames)}</td></tr>"
        )
    return (
        f'<details><summary>numbers</summary><div class="wide"><table class="values"><thead><tr><th></th>{heads}'
        f"<th>frame by frame</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )
