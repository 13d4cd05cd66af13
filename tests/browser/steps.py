"""What a user does on the page, in a word each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, expect

BROWSER_TEST = [
    pytest.mark.browser,
    # The browser lives on one loop for all tests.
    pytest.mark.asyncio(loop_scope="session"),
    # Gradio 6.31 counts its events with pandas in ways that pandas 3 has deprecated.
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:DeprecationWarning"),
]


def composer(page: Page) -> Locator:
    return page.locator("#composer textarea")


def answers(page: Page) -> Locator:
    return page.locator("#chat-log .bot-row")


def questions(page: Page) -> Locator:
    return page.locator("#chat-log .user-row")


def listed(page: Page) -> Locator:
    return page.locator("#conversations [data-pick]")


def stop_button(page: Page) -> Locator:
    return page.locator("#composer .stop-button")


async def ask(page: Page, text: str) -> None:
    await composer(page).fill(text)
    await composer(page).press("Enter")


async def ask_and_wait(page: Page, text: str) -> None:
    await ask(page, text)
    await expect(questions(page).last).to_contain_text(text)
    await settled(page)


async def settled(page: Page) -> None:
    """The last answer is whole and the page waits for the next question."""
    await expect(answers(page).last.locator(".sb-facts").last).not_to_have_text("writing")
    await expect(page.locator("#composer .submit-button")).to_be_visible()
    await expect(page.locator("#chat-log .sb-busy")).to_have_count(0)


async def choose_adapter(page: Page, option: str) -> None:
    await page.locator("#adapter-picker input").click()
    await page.get_by_role("option", name=option).click()


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that happens on the server."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def open_tab(page: Page, name: str) -> None:
    """By its name, or by way of the menu that holds what a narrow screen has no room for."""
    tab, menu = page.get_by_role("tab", name=name, exact=True), page.locator(".overflow-menu")
    await expect(tab.or_(menu.locator("button").first).locator("visible=true").first).to_be_visible()
    if await tab.is_visible():
        await tab.click()
    else:
        await menu.locator("button").first.click()
        await menu.get_by_text(name, exact=True).click()
