"""One Chromium for all browser tests; a fresh server and a fresh browser profile for each."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.server import PageServer, write_examples
from tests.fakes import EchoBackend

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
PATIENCE = 15_000
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


@pytest.fixture
def backend() -> EchoBackend:
    return EchoBackend(words=6, pace=0.01)


@pytest.fixture
def server(tmp_path: Path, backend: EchoBackend) -> Iterator[PageServer]:
    write_examples(tmp_path / "adapters")
    server = PageServer(tmp_path, backend).start()
    yield server
    server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Browser, server: PageServer) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Opens the page in a browser profile of its own. After the test, no page may have met an error."""
    contexts, troubles = [], []

    async def open_page(**options: Any) -> Page:
        context = await chromium.new_context(**{"viewport": {"width": 1280, "height": 820}, **options})
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: is_outside(request.url) and troubles.append(f"asked for {request.url}"))
        await page.goto(server.url)
        await expect(page.locator("#composer textarea")).to_be_visible()
        # The first event of the page has been answered once the list of conversations is there.
        await expect(page.locator("#conversations ul, #conversations p")).to_be_attached()
        return page

    def is_outside(url: str) -> bool:
        return not url.startswith((server.url, "data:", "blob:"))

    yield open_page
    for context in contexts:
        await context.close()
    assert not troubles


@pytest_asyncio.fixture(loop_scope="session")
async def page(visit: Callable[..., Awaitable[Page]]) -> Page:
    return await visit()
