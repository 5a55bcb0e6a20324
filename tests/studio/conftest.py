"""A studio as a process, and a browser to open it in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.toys.chromium import WIDE, launched
from tests.toys.studio_page import page_of
from tests.toys.studio_server import Visitor, served
from tests.toys.vote_server import Server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(server: Server) -> Visitor:
    """Somebody who has made a comparison."""
    visitor = Visitor(server.address)
    visitor.made(compare=True, steps="2")
    return visitor


@pytest.fixture(scope="module")
def clip(visitor: Visitor) -> str:
    """A comparison that is in the history already."""
    return str(visitor.json("GET", "/api/tickets")[1]["tickets"][0]["made"][0]["name"])


@pytest.fixture
def told() -> list[str]:
    """What the page asked of other hosts, and what it complained about: nothing."""
    return []


@pytest.fixture
def page(browser: Browser, server: Server, told: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport=WIDE)
    yield page_of(context, server.address, told)
    context.close()
