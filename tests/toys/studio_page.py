"""What the tests do on the studio's page in a browser."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Locator, Page, expect

PROMPT = "a red ball <b>rolling</b> to the right on grass"
PATIENCE = 180_000  # milliseconds; of a machine that many share


def page_of(context: BrowserContext, address: str, told: list[str]) -> Page:
    """The page, opened; what it asks of other hosts and what it complains about is told."""
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda one: None if one.url.startswith((address, "blob:", "data:")) else told.append(one.url))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.goto(address)
    expect(page.get_by_label("Model", exact=True)).to_have_value("diorama")
    return page


def fill(page: Page, steps: int, prompt: str = PROMPT) -> None:
    """Ask for a short clip."""
    page.get_by_label("Prompt").fill(prompt)
    if page.locator("#more").get_attribute("open") is None:
        page.get_by_text("Size, frames, steps").click()
    page.get_by_label("Steps", exact=True).fill(str(steps))
    page.get_by_label("Frames", exact=True).fill("8")


def begin(page: Page) -> Locator:
    """Press Make; the ticket of it."""
    page.get_by_role("button", name="Make", exact=True).last.click()
    return ticket(page)


def ticket(page: Page) -> Locator:
    """The latest ticket."""
    return page.get_by_role("article").first


def plays(video: Locator) -> None:
    """It is muted, and has been loaded so far that it plays."""
    expect(video).to_have_js_property("muted", True)
    video.evaluate("(one) => one.readyState >= 2 || new Promise((done) => one.addEventListener('loadeddata', done))")
