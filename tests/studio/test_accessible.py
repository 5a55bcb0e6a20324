"""The studio's page for everybody, in headless Chromium: what axe-core finds, that it fits, and by keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.toys.chromium import CHROMIUM, PHONE, barriers
from tests.toys.studio_page import begin, fill, page_of, plays, ticket
from tests.toys.studio_server import Visitor
from tests.toys.vote_server import Server

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")

TABLET: Any = {"width": 1024, "height": 768}
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def busy(visitor: Visitor) -> Visitor:
    """Somebody who has made clips of every kind, in vain too."""
    visitor.made(kind="seeds", seeds="2", keep="1", steps="2")
    axes = [{"setting": "alpha", "values": "0.1"}, {"setting": "beta", "values": "1, 2"}]
    visitor.made(kind="grid", steps="1", grid=axes)
    assert visitor.made(width="17")["state"] == "failed"
    return visitor


@pytest.fixture(scope="module")
def voted(browser: Browser, server: Server, visitor: Visitor) -> list[str]:
    """What keeps people out of the voting page, on which a vote was given."""
    _, told = visitor.json("POST", "/api/judge", {})
    page = browser.new_page()
    page.goto(server.address + told["page"])
    found = []
    page.get_by_role("checkbox").check()
    found += barriers(page)
    page.get_by_role("button", name="Take part").click()
    found += barriers(page)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Left").click()
    expect(page.locator("#step")).to_contain_text("Question 2 of 3")
    found += barriers(page)
    page.close()
    return found


def test_nothing_keeps_people_out_of_the_voting_page(voted: list[str]) -> None:
    assert voted == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, TABLET], ids=["phone", "tablet"])
def test_every_view_fits_and_keeps_nobody_out(
    browser: Browser,
    server: Server,
    busy: Visitor,
    clip: str,
    voted: list[str],
    told: list[str],
    size: Any,
    scheme: Any,
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    empty = page_of(context, server.address, told)
    assert usable(empty, "with nothing made") == []
    empty.close()
    come_as(context, server, busy)
    page = page_of(context, server.address, told)
    expect(page.locator(".ticket video")).to_have_count(4)
    for details in page.locator("#form details summary").all():
        details.click()
    page.get_by_label("Settings", exact=True).select_option("own")
    found = []
    for name in ("Make", "Seeds", "Grid"):
        page.get_by_role("button", name=name, exact=True).first.click()
        found += usable(page, name)
    page.get_by_role("button", name="Judge").click()
    expect(page.get_by_role("rowheader", name="video_quality")).to_be_visible()
    found += usable(page, "Judge")
    page.get_by_role("button", name="History").click()
    card = page.locator(f"[data-clip='{clip}']")
    card.get_by_text("All settings").click()
    expect(card.locator("dl")).to_be_visible()
    assert card.locator("video").evaluate("(one) => one.paused"), "nothing moves unasked"
    found += usable(page, "History")
    card.get_by_role("button", name="Compare").click()
    expect(page.locator("#what-it-did svg")).to_have_count(3)
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    for mode in ("Wipe", "Side by side"):
        page.get_by_label(mode).check()
        found += usable(page, f"Compare, {mode}")
    assert found == []
    assert told == []
    context.close()


def test_nothing_keeps_people_out_while_a_clip_is_made(page: Page) -> None:
    fill(page, 500)
    one = begin(page)
    expect(one.get_by_alt_text("as it is going to be")).to_be_visible()
    found = usable(page, "while a clip is made")
    one.get_by_role("button", name="Stop").press("Enter")
    expect(one).to_contain_text("Stopped.")
    expect(one).to_be_focused()
    assert found == []


def test_a_clip_is_made_and_played_by_keyboard_alone(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the work")).to_be_focused()
    keys.press("Enter")
    reach(page, "#prompt")
    keys.type("a red ball")
    reach(page, "#more summary")
    keys.press("Enter")
    reach(page, "#steps")
    keys.type("2")
    reach(page, "#go")
    keys.press("Space")
    expect(ticket(page)).to_contain_text("Done")
    expect(page.locator("#go")).to_be_focused()
    video = ticket(page).locator("video")
    plays(video)
    reach(page, ".ticket video")
    expect(video).to_have_js_property("paused", True)
    keys.press("Space")
    expect(video).to_have_js_property("paused", False)
    page.wait_for_function("document.querySelector('.ticket video').currentTime > 0")

    page.reload()
    for name in ("Seeds", "Grid", "Compare"):
        while page.evaluate("document.activeElement.textContent") != name:
            keys.press("Tab")
        keys.press("Space")
        assert page.get_by_role("button", name=name, exact=True).get_attribute("aria-current") == "page"
    reach(page, "#clip-a")
    keys.press("ArrowDown")
    expect(page.get_by_text("Two clips are needed")).to_be_visible()


def test_a_clip_is_deleted_and_given_back_by_keyboard_alone(page: Page, clip: str) -> None:
    page.goto(f"{page.url.partition('#')[0]}#history")
    page.reload()
    delete = page.locator(f"[data-clip='{clip}']").get_by_role("button", name="Delete")
    expect(delete).to_be_visible()
    place = page.evaluate(
        "(name) => [...document.querySelectorAll('#clips > li')].findIndex((one) => one.dataset.clip === name)", clip
    )
    delete.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    expect(delete).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-clip='{clip}']").get_by_role("button").first).to_be_focused()
    delete.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#clips > li").nth(place).get_by_role("button").first).to_be_focused()
    page.request.post(
        f"{page.url.partition('#')[0]}api/history/{clip}", data="{}", headers={"Content-Type": "application/json"}
    )


def come_as(context: BrowserContext, server: Server, visitor: Visitor) -> None:
    """Give a browser somebody's cookie, and so the tickets."""
    name, _, value = visitor.headers["Cookie"].partition("=")
    context.add_cookies([{"name": name, "value": value, "url": server.address}])


def usable(page: Page, view: str) -> list[str]:
    """What is wrong with a view: how it is wider than the window, and what keeps people out."""
    wider = page.evaluate(WIDER)
    return [f"{view}: {one}" for one in ([f"wider by {wider} px"] if wider > 0 else []) + barriers(page)]


def reach(page: Page, selector: str) -> None:
    """Press Tab until a control is focused."""
    for _ in range(80):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {selector}")
