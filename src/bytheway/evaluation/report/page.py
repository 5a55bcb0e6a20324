"""A page for a browser: figures, plots and the clips in step. One file that needs nothing else, and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from types import MappingProxyType

import bytheway
from bytheway.evaluation.comparison import Comparison, Contrast
from bytheway.evaluation.measures.measure import KINDS
from bytheway.evaluation.report.cards import Card, OnStrip, Remarks, cards_of, data_of, pairs_section, worst_and_best
from bytheway.evaluation.report.plots import differences, outcome_bar
from bytheway.evaluation.report.words import cautions, interval, number


def comparison_page(
    comparisons: Sequence[Comparison],
    *,
    title: str,
    subtitle: str = "",
    extra: str = "",
    remarks: Remarks = MappingProxyType({}),
    on_strip: OnStrip = lambda done, total: None,
) -> str:
    """The page of one or more comparisons that share their first set, the baseline.

    Args:
        comparisons: at least one.
        title: of the page.
        subtitle: a sentence under it, such as the model.
        extra: more HTML, before the clips.
        remarks: sentences that stand under the clips of a pair, by the path of the baseline's clip.
        on_strip: hears of each clip that is put in, and of how many.
    """
    arms = [comparisons[0].names[0], *(one.names[1] for one in comparisons)]
    cards = cards_of(comparisons)
    shown = worst_and_best(comparisons, cards)
    on_page = {card.id for card in shown}
    sections = "".join(_section(number, one, cards, on_page) for number, one in enumerate(comparisons))
    pairs = pairs_section(comparisons, arms, shown, len(cards), remarks, on_strip)
    data = data_of(comparisons, shown)
    payload = json.dumps(data).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{f"<p>{escape(subtitle)}</p>" if subtitle else ""}
<nav>{_links(comparisons)}</nav>
</header>
<main>
{_overview(comparisons) if len(comparisons) > 1 else ""}
{sections}
{extra}
{pairs}
{_notes(comparisons)}
</main>
<script type="application/json" id="data">{payload}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def wide_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts that scrolls by itself where it is wider than the page."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f"<div class='wide'><table class='paper'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _colours(first: int, second: int) -> str:
    return f"--first:var(--arm-{first % 6});--second:var(--arm-{second % 6})"


def _links(comparisons: Sequence[Comparison]) -> str:
    """To the parts of the page."""
    figures = [(f"#against-{c + 1}", one.names[1]) for c, one in enumerate(comparisons)] if len(comparisons) > 1 else []
    links = [*figures, ("#clips", "the clips"), ("#how", "how to read this")]
    return "".join(f'<a href="{target}">{escape(name)}</a>' for target, name in links)


def _section(c: int, comparison: Comparison, cards: Sequence[Card], on_page: set[str]) -> str:
    """The figures of one comparison."""
    first, second = map(escape, comparison.names)
    labels = [""] * len(comparison.pairs)
    targets: list[str | None] = [None] * len(comparison.pairs)
    for card in cards:
        if c in card.places:
            labels[card.places[c]] = card.title
            targets[card.places[c]] = card.id if card.id in on_page else None
    rows = "".join(_row(comparison, one, labels, targets) for one in comparison.contrasts)
    clips, prompts = len(comparison.pairs), comparison.prompts
    counted = f"{clips} pair{'s' * (clips != 1)} of clips, {prompts} prompt{'s' * (prompts != 1)}"
    warned = "".join(f"<li>{escape(sentence)}</li>" for sentence in cautions(comparison))
    return f"""<section id="against-{c + 1}" style="{_colours(0, c + 1)}">
<h2><span class="name first">{first}</span> against <span class="name second">{second}</span></h2>
<p class="lead">{_summary(comparison)} <span class="quiet">{counted}.</span></p>
<table class="measures">
<thead><tr><th>measure</th><th>{first}</th><th>{second}</th><th>difference, 95 % interval</th>
<th class="axis"><span class="first">◂ {first} ahead</span><span class="second">{second} ahead ▸</span></th>
<th>pairs won</th></tr></thead>
<tbody>{rows}</tbody>
</table>
<ul class="cautions">{warned}</ul>
</section>"""


def _overview(comparisons: Sequence[Comparison]) -> str:
    """The means of all arms; those that are ahead of the baseline, or behind it, are in their colour."""
    first = comparisons[0]
    arms = [first.names[0], *(one.names[1] for one in comparisons)]
    heads = "".join(
        f'<th class="arm" style="--arm:var(--arm-{arm % 6})">{escape(name)}</th>' for arm, name in enumerate(arms)
    )
    by_name = [{contrast.example.name: contrast for contrast in one.contrasts} for one in comparisons]
    rows = []
    for name, contrast in by_name[0].items():
        cells = [f"<td>{number(contrast.first.value)}</td>"]
        for contrasts in by_name:
            its = contrasts.get(name)
            side = its.ahead if its else None
            mark = {"second": " ▲", "first": " ▼", None: ""}[side]
            cells.append(f'<td class="{side or ""}">{number(its.second.value) if its else "–"}{mark}</td>')
        rows.append(f"<tr><th scope='row'>{escape(name)}</th>{''.join(cells)}</tr>")
    return f"""<section><h2>All arms</h2><div class="wide"><table class="paper overview">
<thead><tr><th>mean</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>
<p class="quiet">▲ ahead of {escape(arms[0])} by more than chance, ▼ behind it; intervals are below.</p>
</section>"""


def _summary(comparison: Comparison) -> str:
    """Who is ahead in what, in a sentence."""
    first, second = comparison.names
    told = {
        side: [one.example.name for one in comparison.contrasts if one.ahead == side] for side in ("second", "first")
    }
    said = [
        f"<b>{escape(name)}</b> is ahead in {', '.join(told[side])}"
        for side, name in (("second", second), ("first", first))
        if told[side]
    ]
    rest = len(comparison.contrasts) - len(told["first"]) - len(told["second"])
    if not said:
        return "No measure tells the two apart."
    tail = f"; {rest} of {len(comparison.contrasts)} measures do not tell them apart." if rest else "."
    return "; ".join(said) + tail


def _row(comparison: Comparison, one: Contrast, labels: Sequence[str], targets: Sequence[str | None]) -> str:
    first, second = map(escape, comparison.names)
    name = one.example.name
    about = _about(name)
    by = ", ".join(backbone.name for backbone in one.example.backbones)
    badges = '<span class="badge">VBench</span>' if one.example.vbench else ""
    small = " ".join(filter(None, [escape(about), f"<i>{escape(by)}.</i>" if by else ""]))
    lower = "; lower is better" if one.example.direction == "lower" else ""
    found = one.outcomes
    side = one.ahead or "none"
    unit = f" {escape(one.example.unit)}" if one.example.unit else ""
    return f"""<tr>
<th scope="row"><span class="measure">{escape(name)}{badges}</span><small>{small}{lower}</small></th>
<td data-label="{first}">{number(one.first.value)}{unit}</td>
<td data-label="{second}">{number(one.second.value)}{unit}</td>
<td data-label="difference" class="difference {side}"><b>{number(one.difference.value, signed=True)}</b>
<small>{interval(one.difference, signed=True)}</small></td>
<td class="plot"><span class="axis"><span class="first">◂ {first} ahead</span>
<span class="second">{second} ahead ▸</span></span>{differences(one, labels, targets)}</td>
<td data-label="pairs won" class="won">{outcome_bar(one)}
<small>{first} {found.losses}, equal {found.ties}, {second} {found.wins}; p {one.p_value:.2g}</small></td>
</tr>"""


def _about(name: str) -> str:
    """What the measure is, also of one that has the name of another network at its end."""
    kinds = [kind for kind in KINDS.values() if name == kind.name or name.startswith(f"{kind.name}_")]
    return max(kinds, key=lambda kind: len(kind.name)).about if kinds else ""


def _notes(comparisons: Sequence[Comparison]) -> str:
    """What was left out, by which networks the numbers are, and how they were made."""
    left_out = [sentence for comparison in comparisons for sentence in comparison.left_out]
    networks: Mapping[str, str] = {
        backbone.name: f"{backbone.source}, {backbone.precision}"
        + (f", SHA-256 {backbone.sha256[:12]}…" if backbone.sha256 else "")
        for comparison in comparisons
        for one in comparison.contrasts
        for backbone in one.example.backbones
    }
    remarks = {
        f"{name}: {remark}": None
        for comparison in comparisons
        for pair in comparison.pairs
        for clip in pair
        for name, one in clip.measurements.items()
        for remark in one.remarks
    }
    parts = []
    if left_out:
        parts.append("<h3>Not compared</h3>" + _list(left_out))
    if networks:
        parts.append("<h3>Networks</h3>" + _list([f"{name}: {source}" for name, source in networks.items()]))
    if remarks:
        parts.append("<h3>Remarks of the measures</h3>" + _list(list(remarks)))
    parts.append(
        "<p>Differences are paired: the second less the first, clip by clip. Their intervals are bootstrap 95 % "
        "intervals over prompts. One side is called ahead where the interval leaves out zero: it has the higher "
        "values, or the lower ones where lower is better; of the flow and of dynamic degree that means more motion, "
        "for better or worse. p is that of an exact two-sided sign test over pairs. "
        f"Made by bytheway {escape(bytheway.__version__)}.</p>"
    )
    return f'<section class="notes" id="how"><h2>How to read this</h2>{"".join(parts)}</section>'


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"
