"""The page in a real browser: Debian's headless Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bytheway.evaluation.votes.store import Ballot, opened
from tests.toys.chromium import CHROMIUM, PHONE, WIDE, launched
from tests.toys.experiments import FPS, FRAMES, PROMPTS, STEP, make_experiment
from tests.toys.vote_server import served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")

MARKUP = PROMPTS[1]
QUESTIONS = 3
# Where the bar of a canvas is, by its pixels, in frames; and the mean colour right of it, where the arm's is.
LOOK = """() => ['left', 'right'].map((id) => {
  const canvas = document.getElementById(id);
  const row = canvas.getContext('2d').getImageData(0, 32, canvas.width, 1).data;
  let bar = 0;
  while (bar < canvas.width && Math.min(row[4 * bar], row[4 * bar + 1], row[4 * bar + 2]) < 200) bar++;
  return {frame: Number(canvas.dataset.frame), bar, colour: [...row.slice(4 * 62, 4 * 62 + 3)]};
})"""
# Looks on while a page decodes clips: when it takes a frame of a video, is the one that it sought on show?
WATCH = """() => {
  window.taken = [];
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (call) {
    return ask.call(this, (now, frame) => { this.shown = frame.mediaTime; call(now, frame); });
  };
  const take = window.createImageBitmap;
  window.createImageBitmap = (video, ...rest) => {
    window.taken.push([video.currentTime, video.shown ?? -1]);
    return take(video, ...rest);
  };
}"""
BOXES = """() => ['left', 'right', 'back'].map((id) => document.getElementById(id).getBoundingClientRect())"""
CONTRASTS = """(selectors) => selectors.map((selector) => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let element = document.querySelector(selector);
  const ink = light(getComputedStyle(element).color);
  while (getComputedStyle(element).backgroundColor === 'rgba(0, 0, 0, 0)') element = element.parentElement;
  const paper = light(getComputedStyle(element).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs, one of which has markup in its prompt; a check and a repeat come on top."""
    return make_experiment(tmp_path_factory.mktemp("chromium") / "run", prompts=PROMPTS[:2]).folder


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with served(run) as server:
        yield server.address


@pytest.fixture
def told() -> list[str]:
    """What the page asked of other hosts, and what it complained about: nothing."""
    return []


def page_of(context: BrowserContext, address: str, told: list[str]) -> Page:
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("request", lambda one: None if one.url.startswith((address, "blob:", "data:")) else told.append(one.url))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.goto(address)
    return page


def ballots_of(run: Path, identity: str) -> list[Ballot]:
    with opened(run) as store:
        person = store.number_of(identity)
        return [one for one in store.ballots() if one.person == person]


def in_step(page: Page) -> tuple[str, str]:
    """Both canvases show one frame, by their pixels; returns which arms' colours they have."""
    for _ in range(5):
        left, right = page.evaluate(LOOK)
        assert left["frame"] == right["frame"]
        arms = ["red", "green"]
        names = [arms[max(range(2), key=one["colour"].__getitem__)] for one in (left, right)]
        if names[0] != names[1]:  # no check, which holds or shuffles the frames of one side
            assert round(left["bar"] / STEP) == round(right["bar"] / STEP) == left["frame"]
        page.wait_for_timeout(40)
    return names[0], names[1]


def vote_through(page: Page, answer: Callable[[], None]) -> int:
    """Answers every question to the end; returns how many votes it were."""
    votes = 0
    while True:
        page.wait_for_selector("#thanks:not([hidden]), [data-answer=left]:enabled, #play-text:text-is('Play')")
        if page.locator("#thanks").is_visible():
            return votes
        if page.locator("#play-text").inner_text() == "Play":  # where nothing moves unasked
            page.locator("#play").click()
            page.wait_for_selector("[data-answer=left]:enabled")
        step, number = (page.locator(one).inner_text() for one in ("#step", "#progress-text"))
        answer()
        votes += 1
        page.wait_for_selector(
            f"#thanks:not([hidden]), #step:not(:text-is('{step}')), #progress-text:not(:text-is('{number}'))"
        )


def test_by_keyboard_alone_on_a_wide_screen(browser: Browser, run: Path, address: str, told: list[str]) -> None:
    context = browser.new_context(viewport=WIDE)
    page = page_of(context, address, told)
    keys = page.keyboard
    expect(page.get_by_role("button", name="Take part")).to_be_disabled()
    assert "4 pairs; it takes about 2 minutes" in page.locator("#consent").inner_text()
    keys.press("Tab")
    keys.press("Space")
    keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="How it goes")).to_be_focused()
    while not page.evaluate("document.activeElement.id === 'begin'"):
        keys.press("Tab")
    keys.press("Enter")

    expect(page.locator("#vote")).to_be_visible(timeout=60_000)
    expect(page.locator("[data-answer=left]:enabled")).to_be_visible()
    expect(page.locator("#step")).to_have_text("Question 1 of 3: Video quality")
    expect(page.locator("#question")).to_be_focused()
    left, right, back = page.evaluate(BOXES)
    assert (left["width"], left["height"], left["y"]) == (right["width"], right["height"], right["y"])
    assert left["x"] + left["width"] < right["x"]
    assert left["width"] == left["height"] > 400
    assert back["y"] + back["height"] <= 900
    assert page.evaluate("getComputedStyle(document.getElementById('left')).imageRendering") == "pixelated"
    for name in ("Left", "Tie", "Both bad", "Right", "Pause", "Replay", "Back", "Withdraw"):
        assert page.get_by_role("button", name=name).count() == 1, name

    keys.press("Space")
    expect(page.locator("#play-text")).to_have_text("Play")
    frame = page.evaluate(LOOK)[0]["frame"]
    page.wait_for_timeout(200)
    assert page.evaluate(LOOK)[0]["frame"] == frame, "paused"
    keys.press("r")
    expect(page.locator("#play-text")).to_have_text("Pause")

    keys.press("b")
    expect(page.locator("#step")).to_have_text("Question 2 of 3: Structure rationality")
    keys.press("Backspace")
    expect(page.locator("#step")).to_have_text("Question 1 of 3: Video quality")
    expect(page.locator("[data-answer=bad].chosen")).to_be_visible()
    prompts = set()

    def prefer_green() -> None:
        prompts.add(page.locator("#prompt-text").inner_text())
        colours = in_step(page)
        if colours[0] == colours[1]:
            keys.press("t")
        else:
            keys.press("ArrowLeft" if colours[0] == "green" else "ArrowRight")

    assert vote_through(page, prefer_green) == 4 * QUESTIONS
    assert prompts == set(PROMPTS[:2]), "markup is shown as it was written"
    assert page.locator("#prompt-text b").count() == 0
    expect(page.get_by_role("heading", name="Thank you")).to_be_focused()
    identity = page.locator("#person").inner_text()
    ballots = ballots_of(run, identity)
    assert len(ballots) == 4 * QUESTIONS
    choices = [one.choice for one in ballots if one.item.pair < 2]
    assert choices == ["second"] * 3 * QUESTIONS, "enhanced, whatever its side"
    assert {one.answer for one in ballots if one.item.pair < 2} == {"left", "right"}
    with sqlite3.connect(run / "votes" / "votes.sqlite") as database:
        replays, width, height, loops, watched = database.execute(
            "SELECT replays, width, height, loops, watched FROM votes JOIN items ON id = item"
            " WHERE person = ? AND place = 0",
            (ballots[0].person,),
        ).fetchone()
    assert (replays, width, height) == (1, 1440, 900)
    assert loops >= 1
    assert watched >= 0.5
    assert told == []
    context.close()


def test_a_frame_is_taken_when_it_is_on_show(browser: Browser, address: str, told: list[str]) -> None:
    """A browser says that it has sought a frame, and may still show the one before for a moment."""
    context = browser.new_context(viewport=WIDE)
    page = page_of(context, address, told)
    page.evaluate(WATCH)
    page.locator("#agreed").check()
    page.get_by_role("button", name="Take part").click()
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#vote")).to_be_visible(timeout=60_000)
    taken = page.evaluate("window.taken")[: 2 * FRAMES]  # of the first pair
    assert [round(FPS * shown) for _, shown in taken] == 2 * list(range(FRAMES))
    assert [int(FPS * sought) for sought, _ in taken] == 2 * list(range(FRAMES))
    context.close()


def test_by_touch_on_a_phone_in_the_dark_without_motion(
    browser: Browser, run: Path, address: str, told: list[str]
) -> None:
    context = browser.new_context(
        viewport=PHONE,
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
        reduced_motion="reduce",
    )
    page = page_of(context, address, told)
    expect(page.locator("#consent")).to_be_visible()
    assert min(page.evaluate(CONTRASTS, ["#consent p", "#consent h1"])) >= 4.5
    page.locator("#agreed").tap()
    page.get_by_role("button", name="Take part").tap()
    page.get_by_role("button", name="Begin").tap()
    expect(page.locator("#step")).to_have_text("Press Play, and watch once from beginning to end", timeout=60_000)
    for key in ("ArrowLeft", "t", "b"):
        page.keyboard.press(key)
    expect(page.get_by_role("button", name="Upper")).to_be_disabled()
    assert page.evaluate(LOOK)[0]["frame"] == 0, "nothing moves unasked"
    page.locator("#play").tap()
    expect(page.locator("[data-answer=left]:enabled")).to_be_visible()
    expect(page.locator("#step")).to_have_text("Question 1 of 3: Video quality")  # too early was no vote
    upper, lower, back = page.evaluate(BOXES)
    assert (upper["width"], upper["height"], upper["x"]) == (lower["width"], lower["height"], lower["x"])
    assert upper["y"] + upper["height"] < lower["y"]
    assert upper["width"] >= 200
    assert back["y"] + back["height"] <= 844, "all of it is on the screen"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(BOXES.replace("['left', 'right', 'back']", "['replay']"))[0]["height"] < 50
    texts = [
        "#prompt .quiet",
        "#prompt-text",
        "#question",
        "[data-answer=tie]",
        "#step",
        "header button",
        "#progress-text",
    ]
    assert min(page.evaluate(CONTRASTS, texts)) >= 4.5
    for name in ("Upper", "Lower", "Tie", "Both bad"):
        assert page.get_by_role("button", name=name, exact=True).count() == 1, name

    page.get_by_role("button", name="Tie").tap()
    expect(page.locator("#step")).to_contain_text("2 of 3")
    page.reload()
    expect(page.locator("#vote")).to_be_visible(timeout=60_000)
    page.locator("#play").tap()
    expect(page.locator("#step")).to_have_text("Question 2 of 3: Structure rationality")

    votes = vote_through(page, lambda: page.get_by_role("button", name="Lower").tap())
    assert votes == 4 * QUESTIONS - 1
    ballots = ballots_of(run, page.locator("#person").inner_text())
    assert [one.answer for one in ballots].count("right") == 4 * QUESTIONS - 1
    assert told == []
    context.close()


def test_the_page_waits_for_a_killed_server_and_withdraws(
    browser: Browser, run: Path, tmp_path: Path, told: list[str]
) -> None:
    mine = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("votes")))
    context = browser.new_context(viewport=WIDE)
    with served(mine) as server:
        page = page_of(context, server.address, told)
        page.locator("#agreed").check()
        page.get_by_role("button", name="Take part").click()
        page.get_by_role("button", name="Begin").click()
        page.get_by_role("button", name="Left").click(timeout=60_000)
        expect(page.locator("#step")).to_contain_text("2 of 3")
        server.process.kill()
        server.process.wait()
        page.keyboard.press("t")
        expect(page.locator("#status")).to_contain_text("Your answer is kept here and sent again")
        expect(page.get_by_role("button", name="Tie")).to_be_disabled()
    with served(mine) as again:
        assert again.address == server.address
        expect(page.locator("#step")).to_contain_text("3 of 3", timeout=60_000)
        expect(page.locator("#status")).to_have_text("")
        with opened(mine) as store:
            assert sorted(one.answer for one in store.ballots()) == ["left", "tie"]
        page.get_by_role("button", name="Withdraw").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("b")
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Withdraw").click()
        page.get_by_role("button", name="Delete them").click()
        expect(page.get_by_role("heading", name="Withdrawn")).to_be_visible()
        with opened(mine) as store:
            assert (store.ballots(), store.people(), store.withdrawn()) == ([], 0, 1)
        page.reload()
        expect(page.locator("#consent")).to_be_visible()
        assert page.evaluate("localStorage.length") == 0
    assert all("ERR_CONNECTION" in one for one in told)
    context.close()
