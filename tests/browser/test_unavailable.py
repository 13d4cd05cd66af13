"""A database that nothing can be written to, as a user meets it: told clearly, and nothing typed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.async_api import expect

from assistant.errors import StoreUnavailable
from tests.browser import test_compare as compare
from tests.browser.server import PageServer
from tests.browser.steps import BROWSER_TEST, answers, ask, composer, settled

pytestmark = BROWSER_TEST

QUESTION = "what is the mood tonight?"


@pytest.fixture
def database(server: PageServer, monkeypatch):
    """That of the page, waiting for others no longer than a moment."""
    monkeypatch.setattr(server.store.database, "_busy_timeout", 0.2)
    return server.store.database


@contextmanager
def written_to(database) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    with database.writing():
        yield


async def test_questions_and_sets_stay_in_their_boxes_while_the_database_is_locked(page, database):
    async def is_told() -> None:
        toast = page.get_by_test_id("toast-body")
        await expect(toast).to_contain_text("nothing was saved: database is locked")
        await page.get_by_test_id("toast-close").dispatch_event("click")
        await expect(toast).to_have_count(0)

    with written_to(database):
        await ask(page, QUESTION)
        await is_told()
        await expect(composer(page)).to_have_value(QUESTION)
        await compare.open_tab(page, compare.EXAMPLES)
        await compare.compare(page, QUESTION)
        await is_told()
        await expect(page.locator("#compare-question textarea")).to_have_value(QUESTION)
        await page.get_by_role("tab", name="A set of questions").click()
        await page.locator("#batch-pasted textarea").fill("one\ntwo")
        await page.locator("#start-batch").click()
        await is_told()
        await expect(page.locator("#batch-pasted textarea")).to_have_value("one\ntwo")
    await page.locator("#start-batch").click()
    await expect(page.locator("#batch-progress")).to_contain_text("2 of 2 rows")


async def test_an_answer_that_cannot_be_kept_is_shown_and_its_question_returns(page, server, monkeypatch):
    def full(*arguments: object) -> None:
        raise StoreUnavailable("nothing was saved: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(server.store, "finish_turn", full)
        await ask(page, QUESTION)
        await expect(page.locator(".toast-body")).to_contain_text("disk is full")
        await expect(answers(page).last).to_contain_text("mood: word1")
        await expect(composer(page)).to_have_value(QUESTION)
    await composer(page).press("Enter")
    await settled(page)
    await expect(answers(page)).to_have_count(1)
    await expect(composer(page)).to_have_value("")
