"""The page: whole, self-contained, and with what was measured."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bytheway.clips.write import save_video
from bytheway.evaluation.clip_files import find_clips
from bytheway.evaluation.comparison import Comparison, compare
from bytheway.evaluation.report import cards
from bytheway.evaluation.report.page import comparison_page
from bytheway.evaluation.report.strips import MOST_FRAMES, strip_of
from bytheway.evaluation.scores import score_clip

Save = Callable[..., Path]
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Structure(HTMLParser):
    """Every element and its attributes; asserts that all are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.found if name in (attributes.get("class") or "").split()]


def structure(text: str) -> Structure:
    found = Structure()
    found.feed(text)
    assert found.open == []
    return found


@pytest.fixture
def comparison(save: Save, measures: Any) -> Callable[..., Comparison]:
    def made(pairs: int = 7, second: str = "B", prompt: str = "prompt") -> Comparison:
        both = []
        for k in range(pairs):
            settings = {"prompt": f"{prompt} {k}", "seed": 1}
            a = save(f"A/{k}", 60 + 9 * k, step=1, **settings)
            b = save(f"{second}/{k}", 65 + 9 * k + k % 3, step=3, **settings)
            both.append(tuple(score_clip(find_clips([path])[0], measures) for path in (a, b)))
        return compare(("A", second), both, ["B/9.mp4 has no partner."])  # type: ignore[arg-type]

    return made


def test_it_needs_nothing_else(comparison: Callable[..., Comparison]) -> None:
    text = comparison_page([comparison()], title="A and B")
    found = structure(text)
    assert not {tag for tag, _ in found.found} & {"link", "iframe", "object", "embed"}
    assert [attributes for _, attributes in found.found if "src" in attributes] == []
    assert re.findall(r"url\((?!data:image/webp)", text) == []
    assert "http" not in text


def test_it_shows_every_pair_and_measure(comparison: Callable[..., Comparison]) -> None:
    one = comparison()
    text = comparison_page([one], title="A and B")
    found = structure(text)
    assert len(found.of_class("card")) == 7
    assert len(found.of_class("strip")) == 14
    assert len(found.of_class("dots")) == 3
    circles = [attributes for tag, attributes in found.found if tag == "circle" and attributes["class"] != "mean"]
    assert len(circles) == 3 * 7
    assert "<b>B</b> is ahead in brightness, changes; <b>A</b> is ahead in change." in text
    assert "B/9.mp4 has no partner." in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert data["differences"]["pair-1"]["0:brightness"] == pytest.approx(one.contrasts[0].differences[0])


def test_right_is_better_also_where_lower_is(comparison: Callable[..., Comparison]) -> None:
    """The second changes more, which is worse: its dots lie left."""
    text = comparison_page([comparison()], title="A and B")
    plots = re.findall(r'<svg class="dots".*?</svg>', text, re.DOTALL)
    sides = [re.findall(r'<circle class="(first|second|tie)" cx="([\d.]+)"', plot) for plot in plots[:2]]
    assert {kind for kind, _ in sides[0]} == {"second"}
    assert all(float(x) > 150 for _, x in sides[0])
    assert {kind for kind, _ in sides[1]} == {"first"}
    assert all(float(x) < 150 for _, x in sides[1])


def test_what_prompts_say_is_text(comparison: Callable[..., Comparison]) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \" ' &"
    found = structure(comparison_page([comparison(2, "<b>B</b>".replace("/", ""), evil)], title=evil))
    assert [tag for tag, _ in found.found].count("script") == 2
    assert "img" not in {tag for tag, _ in found.found}
    assert not any("onerror" in attributes for _, attributes in found.found)


def test_of_many_pairs_the_worst_and_best_are_shown(
    comparison: Callable[..., Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "MOST_SHOWN", 4)
    one = comparison(9)
    said: list[tuple[int, int]] = []
    text = comparison_page([one], title="t", on_strip=lambda done, total: said.append((done, total)))
    assert len(structure(text).of_class("card")) == 4
    assert "The 4 worst and best of 9 are shown." in text
    assert said == [(done, 8) for done in range(1, 9)]
    order = np.argsort(one.contrasts[0].differences)
    for place in (order[0], order[-1]):
        assert f"<h3>prompt {place}, seed 1</h3>" in text


def test_several_arms_stand_beside_the_baseline(comparison: Callable[..., Comparison]) -> None:
    text = comparison_page([comparison(3), comparison(3, "C")], title="A, B, C")
    found = structure(text)
    assert len(found.of_class("card")) == 3
    assert len(found.of_class("strip")) == 9
    assert [attributes["aria-label"] for attributes in found.of_class("strip")[:3]] == ["A", "B", "C"]
    assert '<option value="1:change">change, C</option>' in text
    ids = {attributes["id"] for _, attributes in found.found if "id" in attributes}
    links = [attributes["href"] for tag, attributes in found.found if tag == "a"]
    assert {"#against-2", "#clips", "#how", "#pair-1"} <= set(links)
    assert {str(link)[1:] for link in links} <= ids


def test_a_strip_holds_every_frame_in_order(tmp_path: Path) -> None:
    clip = np.zeros((5, 40, 60, 3), np.uint8)
    for index in range(5):
        clip[index] = 50 * index
    strip = strip_of(save_video(clip, tmp_path / "c", 8.0))
    assert (strip.frames, strip.columns, strip.rows, strip.width, strip.height) == (5, 3, 2, 60, 40)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(strip.uri.split(",")[1]))).convert("L"))
    middles = [sheet[40 * (index // 3) + 20, 60 * (index % 3) + 30] for index in range(5)]
    assert middles == pytest.approx([0, 50, 100, 150, 200], abs=3)


def test_long_and_large_clips_are_thinned_and_made_smaller(tmp_path: Path) -> None:
    clip = np.zeros((MOST_FRAMES + 1, 32, 768, 3), np.uint8)
    strip = strip_of(save_video(clip, tmp_path / "c", 24.0))
    assert (strip.frames, strip.width, strip.height, strip.fps) == (33, 384, 16, 12.0)
