"""The Preferences tab and ratings in Chat, in a real browser: a vote from the first click to a file for TRL."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from datasets.utils.logging import disable_progress_bar
from playwright.async_api import Locator, Page, expect

from assistant.backends.base import Generation
from assistant.errors import StoreUnavailable
from assistant.feedback.votes import Ranking, VoteStore
from tests.browser.server import PageServer
from tests.browser.steps import BROWSER_TEST, ask_and_wait
from tests.browser.test_compare import EXAMPLES, compare, open_tab, vote_note
from tests.feedback.ballot_box import BallotBox
from tests.feedback.trl_trainers import trainer
from tests.tiny import tokenizer, write_base

pytestmark = BROWSER_TEST


async def open_preferences(page: Page, part: str = "Votes") -> None:
    await page.get_by_role("tab", name="Preferences").click()
    await page.get_by_role("tab", name=part, exact=True).click()


def rows(page: Page) -> Locator:
    return page.locator("#vote-table tbody tr")


async def pick(page: Page, field: str, option: str) -> None:
    await page.locator(f"{field} input").click()
    await page.get_by_role("option", name=re.compile(option)).click()


async def save_file(page: Page, folder: Path) -> Path:
    async with page.expect_download() as download:
        await page.locator("#export-votes").click()
    saved = await download.value
    path = folder / saved.suggested_filename
    await saved.save_as(path)
    return path


async def test_a_blind_ranking_of_three_is_changed_listed_exported_and_loaded_as_trl_wants_it(
    page, server, tmp_path, monkeypatch
):
    lengths, generate = count(2), server.backend.generate

    def no_two_alike(generation: Generation) -> Any:
        decoding = generation.decoding.model_copy(update={"max_tokens": next(lengths)})
        return generate(replace(generation, decoding=decoding))

    monkeypatch.setattr(server.backend, "generate", no_two_alike)
    await open_tab(page, EXAMPLES)
    await page.locator("#compare-blind input").check()
    await compare(page, "what is the mood in the harbour?")
    ranking = page.locator("#compare-ranking li")
    await expect(ranking).to_have_count(3)
    await page.get_by_label("Move answer B up").click()
    await page.get_by_label("Move answer A up").click()
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("Your vote: A > B > C.")
    await page.get_by_label("Move answer C up").click()
    await page.get_by_label("Move answer C up").click()
    await page.get_by_role("button", name="Save the ranking").click()
    await expect(vote_note(page)).to_contain_text("Your vote: C > A > B (changed 1 time)")
    texts = await page.locator("#compare-columns .sb-answer").all_inner_texts()

    await open_preferences(page)
    await page.get_by_text("Mine", exact=True).click()
    await expect(rows(page)).to_have_count(1)
    for told in ("what is the mood in the harbour?", "Fine-tuned", "you"):
        await expect(rows(page)).to_contain_text(told)
    await rows(page).click()
    detail = page.locator("#vote-detail")
    await expect(detail).to_contain_text("Changed once")
    await expect(detail.locator(".sb-vote-history")).to_contain_text("blind")
    await page.keyboard.press("Escape")
    await expect(detail).to_be_hidden()

    await page.get_by_role("tab", name="Take out").click()
    path = await save_file(page, tmp_path)
    assert re.fullmatch(r"preference-\d{4}-\d\d-\d\d\.jsonl", path.name)
    disable_progress_bar()
    made = await asyncio.to_thread(
        load_dataset, "json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    a, b, c = texts
    found = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in made]
    assert sorted(found) == sorted([(c, a), (c, b), (a, b)])
    for row in made:
        assert row["prompt"] == [{"role": "user", "content": "what is the mood in the harbour?"}]
        assert [message["role"] for message in (*row["chosen"], *row["rejected"])] == ["assistant"] * 2
    assert sum(row["weight"] for row in made) == pytest.approx(1)
    run = await asyncio.to_thread(lambda: trainer("dpo", made, write_base(tmp_path / "base"), tmp_path))
    decoded = [
        [tokenizer().decode(row[column]) for column in ("prompt_ids", "chosen_ids", "rejected_ids")]
        for row in run.train_dataset
    ]
    assert len(decoded) == 3
    for (prompt, chosen, rejected), (better, worse) in zip(decoded, found, strict=True):
        assert "what is the mood in the harbour?" in prompt and better in chosen and worse in rejected


async def test_a_rating_in_chat_is_kept_listed_retagged_and_deleted(page):
    await ask_and_wait(page, "what is the mood tonight?")
    await page.locator(".sb-rate-link").click()
    drawer = page.locator("#rating-drawer")
    await drawer.locator(".sb-points", has_text="Relevance").get_by_text("4", exact=True).click()
    await drawer.get_by_text("Good", exact=True).click()
    await drawer.get_by_label("What it should have said").fill("Sunny, later rain.")
    await drawer.get_by_role("button", name="Save the rating").click()
    await expect(page.locator("#rating-note")).to_contain_text("Saved: Good, relevance 4, a correction.")
    await drawer.get_by_role("button", name="Close").click()
    await expect(page.get_by_role("button", name="Liked")).to_be_visible()

    await open_preferences(page)
    await page.get_by_text("Mine", exact=True).click()
    await expect(rows(page)).to_have_count(1)
    await rows(page).click()
    panel = page.locator("#vote-drawer")
    await expect(panel).to_contain_text("Sunny, later rain.")
    await panel.get_by_label("Tags").fill("weather")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await panel.get_by_role("button", name="Save the tags").click()
    await expect(rows(page).locator(".sb-tag")).to_have_text(["weather"])
    await panel.get_by_role("button", name="Delete this vote").click()
    await panel.get_by_role("button", name="Keep it").click()
    await expect(rows(page)).to_have_count(1)
    await panel.get_by_role("button", name="Delete this vote").click()
    await panel.get_by_role("button", name="Delete it").click()
    await expect(page.locator("#vote-table")).to_contain_text("No vote fits")


async def test_a_rating_that_cannot_be_saved_says_so_and_keeps_what_was_typed(page, monkeypatch):
    def full(*arguments: object) -> None:
        raise StoreUnavailable("the disk is full; nothing was saved")

    await ask_and_wait(page, "what is the mood tonight?")
    await page.locator(".sb-rate-link").click()
    drawer = page.locator("#rating-drawer")
    await drawer.get_by_label("Comment").fill("well said")
    with monkeypatch.context() as patch:
        patch.setattr("assistant.feedback.votes.VoteStore.rate", full)
        await drawer.get_by_role("button", name="Save the rating").click()
        await expect(page.locator("#rating-note")).to_contain_text("Your rating was not saved: the disk is full")
    await expect(drawer.get_by_label("Comment")).to_have_value("well said")
    await drawer.get_by_role("button", name="Save the rating").click()
    await expect(page.locator("#rating-note")).to_contain_text("Saved: a comment.")


def fill(server: PageServer, question: str = "Why do ferries float?") -> str:
    """Rankings by two others; returns the question of them all."""
    box = BallotBox(server.store)
    for voter, ranks in (("ann", (1, 2, 3)), ("bob", (2, 1, 3)), ("ann", (1, 1, 2))):
        comparison = box.comparison(["They push water aside.", "They are light.", "Magic."], question=question)
        box.votes.rank(voter, Ranking(comparison_id=comparison, verdict="ranked", ranks=ranks))
    return question


async def test_the_leaderboard_shows_strengths_plots_and_what_was_left_out(page, server):
    question = await asyncio.to_thread(fill, server)
    await open_preferences(page, "Leaderboard")
    await page.locator("#vote-search").get_by_role("textbox").fill(question)
    await page.locator("#vote-search").get_by_role("textbox").press("Enter")
    await expect(page.locator("#board-basis")).to_contain_text("3 rankings: 9 battles")
    await expect(page.locator("#board-basis")).to_contain_text("No battle is left out.")
    await expect(page.locator("#board-table tbody tr")).to_have_count(3)
    await expect(page.locator("#board-table tbody tr").last).to_contain_text("Fine-tuned")
    for part in ("plot", "days"):
        await expect(page.locator(f"#board-{part} svg")).to_be_visible()
    await expect(page.locator("#board-matrix td").nth(1)).to_contain_text("of 3")
    await page.locator("#board-by").get_by_text("Adapter", exact=True).click()
    await expect(page.locator("#board-basis")).to_contain_text("3 × both answers are of one contestant")


async def test_votes_come_in_from_a_file_again_and_ones_own_are_taken_out_and_deleted(page, server, tmp_path):
    question = await asyncio.to_thread(fill, server)
    await ask_and_wait(page, "what is the mood tonight?")
    await page.get_by_label("Dislike", exact=True).click()
    await open_preferences(page)
    await page.locator("#vote-search").get_by_role("textbox").fill(question)
    await page.locator("#vote-search").get_by_role("textbox").press("Enter")
    await page.get_by_role("tab", name="Take out").click()
    await pick(page, "#export-format", "^Ranked lists")
    await page.get_by_text("Parquet", exact=True).click()
    path = await save_file(page, tmp_path)
    await page.get_by_role("tab", name="Bring in").click()
    await page.locator("#import-file input[type=file]").set_input_files(path)
    await expect(page.locator("#import-outcome")).to_contain_text("0 added")
    await expect(page.locator("#import-outcome")).to_contain_text("0 refused")

    await page.get_by_role("tab", name="Your data").click()
    await expect(page.locator("#own-who")).to_contain_text("never an address")
    await expect(page.locator("#own-count")).to_contain_text("You have said once")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save my votes as JSON").click()
    (vote,) = json.loads(Path(await (await download.value).path()).read_text())
    assert vote["thumb"] is False
    await page.get_by_role("button", name="Delete all my votes").click()
    await page.get_by_role("button", name="Delete them all").click()
    await expect(page.locator("#own-count")).to_contain_text("You have not voted yet.")


async def test_nothing_is_wider_than_a_narrow_screen(visit, server):
    await asyncio.to_thread(fill, server)
    page = await visit(viewport={"width": 800, "height": 900}, color_scheme="dark")
    await open_preferences(page, "Leaderboard")
    await expect(page.locator("#board-plot svg")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 800
    await page.get_by_role("tab", name="Votes", exact=True).click()
    await rows(page).first.click()
    await expect(page.locator("#vote-drawer")).to_contain_text("only they can change or delete it")
    assert await page.evaluate("document.documentElement.scrollWidth") == 800


async def test_a_search_while_the_votes_are_still_read_is_the_one_that_is_shown(page, server, monkeypatch):
    question = await asyncio.to_thread(fill, server, "Why do anchors hold?")
    other = BallotBox(server.store)
    comparison = await asyncio.to_thread(other.comparison, ["Yes.", "No."], question="Is the harbour deep?")
    ranked = Ranking(comparison_id=comparison, verdict="ranked", ranks=(1, 2))
    await asyncio.to_thread(other.votes.rank, "ann", ranked)
    read = VoteStore.votes

    def slowly(*arguments: Any) -> Any:
        time.sleep(1)
        return read(*arguments)

    monkeypatch.setattr(VoteStore, "votes", slowly)
    await open_preferences(page, "Leaderboard")
    await page.locator("#vote-search").get_by_role("textbox").fill(question)
    await page.locator("#vote-search").get_by_role("textbox").press("Enter")
    await expect(page.locator("#board-basis")).to_contain_text("3 rankings: 9 battles")
