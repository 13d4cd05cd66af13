"""One Chromium for all browser tests; one server put back to its beginning, and a fresh browser profile for each."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright, expect

from tests.browser.server import PageServer

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000
"""Milliseconds a condition on the page may take to come true on a busy machine."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("REQUIRE_BROWSER is set and there is no chromium")
        pytest.skip("there is no chromium here")
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    server = PageServer(tmp_path_factory.mktemp("page")).start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: PageServer) -> PageServer:
    """The server as it was at first; only the database goes on, in which each browser sees its own."""
    shared_server.reset()
    return shared_server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profile(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile that has the page's scripts in its cache; a test begins in it as a newcomer."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 820})
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(
    chromium: Browser, profile: BrowserContext, server: PageServer
) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Opens the page; with options, in a profile of its own. After the test, no page may have met an error."""
    pages: list[Page] = []
    troubles: list[str] = []

    async def open_page(**options: Any) -> Page:
        page = await (chromium.new_page(**options) if options else profile.new_page())
        pages.append(page)
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("response", lambda response: is_outside(response.url) and troubles.append(f"fetched {response.url}"))
        page.on("requestfailed", lambda request: is_let_out(request) and troubles.append(f"asked for {request.url}"))
        await page.goto(server.url)
        await expect(page.locator("#composer textarea")).to_be_visible()
        # The first event of the page has been answered once the list of conversations is there.
        await expect(page.locator("#conversations ul, #conversations p")).to_be_attached()
        return page

    def is_outside(url: str) -> bool:
        return not url.startswith((server.url, "data:", "blob:"))

    def is_let_out(request: Request) -> bool:
        # Chromium tells of requests that the page's own policy has kept in, too.
        return is_outside(request.url) and request.failure != "csp"

    yield open_page
    for page in pages:
        if page.is_closed():
            continue
        await page.evaluate("localStorage.clear()")
        await page.close()
    assert not troubles


@pytest_asyncio.fixture(loop_scope="session")
async def page(visit: Callable[..., Awaitable[Page]]) -> Page:
    return await visit()
