"""The studio in a real browser: Debian's headless Chromium, driven by Playwright, with the packaged model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.toys.chromium import CHROMIUM, WIDE
from tests.toys.studio_page import PROMPT, begin, fill, page_of, plays, ticket
from tests.toys.studio_server import FORM, served
from tests.toys.vote_server import Server

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")

# How far the two canvases are apart, in mean difference of a byte, and which frames they say they show.
LOOK = """() => {
  const [a, b] = ['a', 'b'].map((id) => document.getElementById(id));
  const pixels = [a, b].map((one) => one.getContext('2d').getImageData(0, 0, one.width, one.height).data);
  let apart = 0;
  for (let k = 0; k < pixels[0].length; k++) apart += Math.abs(pixels[0][k] - pixels[1][k]);
  return {frames: [Number(a.dataset.frame), Number(b.dataset.frame)], apart: apart / pixels[0].length};
}"""


def test_a_comparison_from_prompt_to_wipe(page: Page, told: list[str]) -> None:
    expect(page.get_by_text("Nothing is being made.")).to_be_visible()
    page.get_by_role("button", name="Make", exact=True).last.click()
    expect(page.get_by_role("alert")).to_contain_text("The prompt is empty")
    expect(page.get_by_label("Prompt")).to_be_focused()
    fill(page, 25)
    page.get_by_label("Make it without the method too").check()
    one = begin(page)
    expect(one.get_by_role("heading")).to_have_text(PROMPT)
    expect(one.get_by_alt_text("as it is going to be")).to_be_visible()
    expect(one.get_by_role("progressbar")).to_have_attribute("aria-valuemax", "50")
    expect(one).to_contain_text(re.compile(r"enhanced: step \d+ of 25, the method acted in the first 5, \d+ s left"))
    expect(one).to_contain_text("Done: seed")
    assert one.locator("b").count() == 0, "markup is shown as it was written"
    plays(one.locator("video"))
    seed = page.get_by_label("Seed", exact=True).input_value()
    expect(one).to_contain_text(seed)

    one.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare two clips in step")).to_be_visible()
    expect(page.locator("#stage")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    for _ in range(5):
        look = page.evaluate(LOOK)
        assert look["frames"][0] == look["frames"][1]
        assert look["apart"] > 0
        page.wait_for_timeout(60)
    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Frame", exact=True).fill("6")
    assert page.evaluate(LOOK)["frames"] == [6, 6]
    page.get_by_role("button", name="One frame on").click()
    page.get_by_role("button", name="One frame on").click()
    assert page.evaluate(LOOK)["frames"] == [0, 0], "after the last comes the first"
    page.get_by_role("button", name="One frame back").click()
    assert page.evaluate(LOOK)["frames"] == [7, 7]
    page.get_by_label("Speed").select_option("2")
    page.get_by_label("Loop").uncheck()
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert page.evaluate(LOOK)["frames"] == [7, 7], "it stands on the last frame"

    page.get_by_label("Wipe").check()
    page.get_by_label("Where the second clip begins").fill("25")
    clipped = "getComputedStyle(document.getElementById('b')).clipPath"
    assert page.evaluate(clipped) == "inset(0px 0px 0px 25%)"
    a, b = (page.locator(f"#{side}").bounding_box() for side in "ab")
    assert a == b, "one lies over the other"
    page.get_by_label("Difference").check()
    assert page.evaluate("getComputedStyle(document.getElementById('b')).mixBlendMode") == "difference"
    charts = page.locator("#what-it-did").get_by_role("img")
    expect(charts).to_have_count(3)
    assert "up_blocks" in str(charts.first.get_attribute("aria-label"))
    page.get_by_role("button", name="Swap").click()
    expect(page.locator("#a-says")).to_contain_text("enhanced (alpha 0.2")
    expect(page.locator("#b-says")).to_contain_text("vanilla")
    assert told == []


def test_a_stop_and_another_clip_after_it(page: Page, told: list[str]) -> None:
    fill(page, 500)
    one = begin(page)
    expect(one).to_contain_text(re.compile("step [1-9]"))
    page.reload()
    one = ticket(page)
    expect(one).to_contain_text(re.compile("step [1-9]"))
    expect(page.get_by_label("Prompt")).to_have_value(PROMPT)
    one.get_by_role("button", name="Stop").click()
    expect(one).to_contain_text("Stopped.")
    expect(one.get_by_role("button", name="Stop")).to_be_hidden()
    fill(page, 2)
    page.get_by_label("Keep it").check()
    page.get_by_label("Seed", exact=True).fill("77")
    page.get_by_label("Settings", exact=True).select_option("own")
    page.get_by_label("Begin from a preset").select_option("animatediff")
    expect(page.get_by_label("Steadier structure alpha")).to_have_value("0.6")
    expect(page.locator("#preset-hint")).not_to_be_empty()
    page.get_by_label("More motion, slider").fill("3")
    expect(page.get_by_label("More motion beta")).to_have_value("3")
    expect(begin(page)).to_contain_text("Done: seed 77")
    assert told == []


def test_seeds_and_grids_fill(page: Page, told: list[str]) -> None:
    page.get_by_role("button", name="Seeds").click()
    fill(page, 3)
    page.get_by_label("Begin", exact=True).fill("3")
    page.get_by_label("The best by").select_option("motion")
    page.get_by_role("button", name="Begin the seeds").click()
    table = ticket(page).get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(table.get_by_role("cell", name="yes")).to_have_count(1)
    expect(ticket(page).locator("video")).to_have_count(1)
    expect(ticket(page)).to_contain_text("Done")

    page.get_by_role("button", name="Grid").click()
    fill(page, 2)
    page.get_by_label("Settings", exact=True).select_option("own")
    page.get_by_label("Rows", exact=True).select_option("alpha")
    page.get_by_label("Values of the rows").fill("0.1, 0.5")
    page.get_by_label("Values of the columns").fill("1 2")
    page.get_by_role("button", name="Make the grid").click()
    one = ticket(page)
    expect(one.get_by_role("columnheader", name="beta 2")).to_be_visible()
    expect(one.get_by_role("rowheader", name="alpha 0.5")).to_be_visible()
    expect(one.locator("video")).to_have_count(4)
    last = one.get_by_role("cell").filter(has=page.locator("video")).last
    expect(last).to_contain_text("alpha 0.5, beta 2")
    last.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Steadier structure alpha")).to_have_value("0.5")
    expect(page.get_by_label("More motion beta")).to_have_value("2")
    expect(page.get_by_label("Keep it")).to_be_checked()
    assert told == []


def test_the_history_finds_deletes_and_gives_back(
    page: Page, server: Server, clip: str, tmp_path: Path, told: list[str]
) -> None:
    page.get_by_role("button", name="History").click()
    card = page.locator(f"[data-clip='{clip}']")
    plays(card.locator("video"))
    page.get_by_label("Search").fill("no such words")
    expect(page.get_by_text("No clip has all of these words.")).to_be_visible()
    page.get_by_label("Search").fill(clip)
    expect(page.get_by_text("2 clips")).to_be_visible()
    card.get_by_text("All settings").click()
    expect(card.get_by_role("definition").filter(has_text="diorama")).not_to_have_count(0)
    with page.expect_download() as loading:
        card.get_by_role("link", name="Download webp").click()
    file = tmp_path / "given.webp"
    loading.value.save_as(file)
    card.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("1 clip", exact=True)).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("2 clips")).to_be_visible()
    page.get_by_role("button", name="Make", exact=True).click()
    page.get_by_label("Load a clip's settings").set_input_files(file)
    expect(page.get_by_label("Prompt")).to_have_value(FORM["prompt"])
    expect(page.get_by_label("Seed", exact=True)).to_have_value("5")
    assert told == []


def test_a_clip_is_dropped_onto_the_page(
    page: Page, server: Server, clip: str, tmp_path: Path, told: list[str]
) -> None:
    devtools = page.context.new_cdp_session(page)
    file = tmp_path / "given.mp4"
    file.write_bytes(page.request.get(f"{server.address}clips/{clip}.mp4").body())
    page.get_by_label("Prompt").fill("words of mine")
    page.get_by_role("button", name="History").click()
    expect(page.locator("#history video").first).to_be_visible()
    drag(devtools, 700, 500, "dragEnter", "dragOver", files=[file])
    expect(page.locator("body")).to_have_class("drop")
    drag(devtools, 700, 30, "drop", files=[file])  # over another element than that of the last move
    expect(page.get_by_role("button", name="Make", exact=True).first).to_have_attribute("aria-current", "page")
    expect(page.get_by_label("Prompt")).to_have_value(FORM["prompt"])
    expect(page.get_by_label("Seed", exact=True)).to_have_value("5")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("2")
    expect(page.get_by_label("Keep it")).to_be_checked()
    expect(page.locator("body")).not_to_have_class("drop")

    file.write_bytes(b"none")
    drag(devtools, 700, 500, "dragEnter", "dragOver", "drop", files=[file])
    expect(page.get_by_role("alert")).to_contain_text("is not a video")
    assert [one for one in told if "400" not in one] == []


def test_an_image_is_dropped_on_the_field_for_it(page: Page, tmp_path: Path, told: list[str]) -> None:
    file = tmp_path / "red.png"
    Image.new("RGB", (8, 8), "red").save(file)
    page.locator("#starts > summary").click()
    page.locator("#start-file").scroll_into_view_if_needed()
    box = page.locator("#start-file").bounding_box()
    assert box is not None
    devtools = page.context.new_cdp_session(page)
    drag(devtools, box["x"] + 20, box["y"] + box["height"] / 2, "dragEnter", "dragOver", "drop", files=[file])
    expect(page.locator("#inputs")).to_contain_text("image: red.png")
    expect(page.locator("body")).not_to_have_class("drop")
    assert told == []


def test_a_clip_that_does_not_come_is_said(page: Page, clip: str) -> None:
    page.route(re.compile(r"/clips/"), lambda route: route.abort())
    page.get_by_role("button", name="History").click()
    page.locator(f"[data-clip='{clip}']").get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    expect(page.locator("#compare-note")).to_be_empty()


def test_a_page_whose_studio_does_not_answer_at_first_asks_again(page: Page) -> None:
    page.route(re.compile("api/about"), lambda route: route.abort(), times=1)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The studio is there again.")
    expect(page.get_by_label("Model", exact=True)).to_have_value("diorama")


def test_words_that_are_dragged_go_into_the_prompt(page: Page) -> None:
    devtools = page.context.new_cdp_session(page)
    box = page.get_by_label("Prompt").bounding_box()
    assert box is not None
    words = [{"mimeType": "text/plain", "data": "a blue cube"}]
    drag(devtools, box["x"] + 20, box["y"] + 20, "dragEnter", "dragOver", "drop", items=words)
    expect(page.get_by_label("Prompt")).to_have_value("a blue cube")
    expect(page.locator("body")).not_to_have_class("drop")


def drag(
    devtools: CDPSession, x: float, y: float, *kinds: str, files: Sequence[Path] = (), items: Sequence[Any] = ()
) -> None:
    """What a mouse does that drags something over the window, with the browser's own events and DataTransfer."""
    data = {"items": list(items), "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in kinds:
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})


def test_pairs_are_voted_on(page: Page, clip: str, told: list[str]) -> None:
    page.get_by_role("button", name="Judge").click()
    expect(page.get_by_text(re.compile(r"\d+ pairs? of vanilla and enhanced"))).to_be_visible()
    page.get_by_role("button", name="Begin").click()
    link = page.get_by_role("link", name="Vote (in a tab of its own)")
    expect(link).to_be_focused()
    with page.expect_popup() as opening:
        link.click()
    voting = opening.value
    voting.get_by_role("checkbox").check()
    voting.get_by_role("button", name="Take part").click()
    voting.get_by_role("button", name="Begin").click()
    voting.get_by_role("button", name="Left").click()
    expect(voting.locator("#step")).to_contain_text("Question 2 of 3")
    voting.close()
    page.get_by_role("button", name="Judge").click()
    expect(page.get_by_text("and 1 votes.")).to_be_visible()
    expect(page.get_by_role("rowheader", name="video_quality")).to_be_visible()
    assert told == []


def test_two_browsers_see_the_clips_but_not_each_others_drafts(
    browser: Browser, page: Page, server: Server, clip: str, told: list[str]
) -> None:
    page.get_by_label("Prompt").fill("my secret idea")
    other = browser.new_context(viewport=WIDE)
    second = page_of(other, server.address, told)
    expect(second.get_by_label("Prompt")).to_have_value("")
    expect(second.get_by_text("Nothing is being made.")).to_be_visible()
    second.get_by_role("button", name="History").click()
    expect(second.locator(f"[data-clip='{clip}']")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Prompt")).to_have_value("my secret idea")
    assert "secret" not in second.content()
    other.close()


def test_the_page_outlives_its_server(browser: Browser, tmp_path: Path, told: list[str]) -> None:
    context = browser.new_context(viewport=WIDE)
    with served(tmp_path) as server:
        page = page_of(context, server.address, told)
        fill(page, 500)
        expect(begin(page)).to_contain_text(re.compile("step [1-9]"))
        server.process.kill()
        server.process.wait()
        expect(page.get_by_role("alert")).to_contain_text("The studio cannot be reached; it is tried again.")
        port = int(server.address.rstrip("/").rpartition(":")[2])
    with served(tmp_path, port=port):
        expect(page.get_by_role("alert")).to_contain_text("The studio is there again.")
        expect(ticket(page)).to_contain_text("started anew")
        fill(page, 2)
        expect(begin(page)).to_contain_text("Done")
    assert all("ERR_CONNECTION" in one for one in told)
    context.close()
