"""``python -m tests.studio.pictures``: photographs the studio for `docs/studio.md`, in Debian's headless Chromium.

It starts a studio with an empty history, makes a comparison by the packaged model, and ends it. Minutes on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, Page

from bytheway.files import written
from tests.toys.chromium import CHROMIUM, PHONE, launched
from tests.toys.studio_server import FORM, Visitor, served

FOLDER: Final = Path(__file__).parents[2] / "docs" / "studio"
WINDOW: Final = {"width": 1280, "height": 800}
CLIP: Final = {"num_frames": "16", "steps": "25"}
COLOURS: Final = 160  # of a picture, which is as small as it can be and still looks right
SEEN: Final = "[...document.querySelectorAll('video')].every((one) => one.readyState >= 2 || !one.checkVisibility())"


def photograph(browser: Browser, visitor: Visitor, address: str) -> None:
    """All pictures: of a clip with the method and without it, where it was made and in step."""
    visitor.made(compare=True, **CLIP)
    with opened(browser, visitor, address, WINDOW, "light") as page:
        page.get_by_label("Prompt").fill(FORM["prompt"])
        page.get_by_label("Make it without the method too").check()
        save(page, "make.png")
    with opened(browser, visitor, address, WINDOW, "dark") as page:
        compare(page)
        save(page, "compare.png", whole=True)
    with opened(browser, visitor, address, PHONE, "light") as page:
        compare(page)
        page.get_by_label("Wipe").check()
        page.locator(".modes").evaluate("(one) => one.scrollIntoView()")
        save(page, "phone.png")


@contextmanager
def opened(browser: Browser, visitor: Visitor, address: str, size: Any, scheme: Any) -> Iterator[Page]:
    """The page as somebody sees it who has made clips; nothing moves."""
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    name, _, value = visitor.headers["Cookie"].partition("=")
    context.add_cookies([{"name": name, "value": value, "url": address}])
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.locator(".ticket video").first.wait_for()
    yield page
    context.close()


def compare(page: Page) -> None:
    """The comparison that was made, amid the clip."""
    page.get_by_role("article").get_by_role("button", name="Compare").click()
    page.locator("#what-it-did svg").last.wait_for()
    page.get_by_label("Frame", exact=True).fill("8")


def save(page: Page, name: str, whole: bool = False) -> None:
    """What is in the window, or the whole page, when its clips are there, with as few colours as will do."""
    page.wait_for_function(SEEN)
    page.wait_for_timeout(1500)  # the controls of a video turn for a moment yet
    with TemporaryDirectory() as folder, written(FOLDER / name) as draft:
        page.screenshot(path=Path(folder) / name, full_page=whole)
        picture = Image.open(Path(folder) / name).convert("RGB")
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(draft, "PNG", optimize=True)


if __name__ == "__main__":
    if CHROMIUM is None:
        raise SystemExit("Pictures of the studio are made by Chromium, which is not here: apt install chromium.")
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as data, served(Path(data)) as server, launched() as browser:
        somebody = Visitor(server.address)
        photograph(browser, somebody, server.address)
