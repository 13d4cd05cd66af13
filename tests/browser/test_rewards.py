"""Best-of columns and rewards in a real browser, over a fake judge that prefers the longer text."""

from __future__ import annotations

import json
import re

from playwright.async_api import Locator, Page, expect

from tests.browser.server import PageServer
from tests.browser.steps import BROWSER_TEST, answers, ask_and_wait, choose_adapter, open_tab
from tests.browser.test_compare import columns, compare
from tests.test_best_of import write_reward

pytestmark = BROWSER_TEST


def vary(server: PageServer) -> None:
    """Answers as long as their seed asks for."""
    plain = type(server.backend).generate

    async def generate(generation):
        server.backend.words = 2 + generation.decoding.seed % 5
        async for item in plain(server.backend, generation):
            yield item

    server.backend.generate = generate  # type: ignore[method-assign]


async def open_compare(page: Page, server: PageServer) -> Locator:
    """With a judge in the catalogue, and two rows to compare; gives the rows."""
    write_reward(server.adapters / "taste")
    await open_tab(page, "Compare")
    rows = page.locator(".sb-contestant:visible")
    # The judge is offered once the tab has been opened; only then is anything picked or typed.
    await expect(rows.first.get_by_label("Best of")).to_be_visible()
    await page.get_by_label("Start from").click()
    await page.get_by_role("option", name="Prompt vs fine-tuned", exact=True).click()
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1).get_by_label("Way")).to_have_value("Fine-tuned")
    return rows


async def reward_by(page: Page, name: str) -> None:
    await page.locator("#compare-reward-by input").click()
    await page.get_by_role("option", name=name, exact=True).click()


async def test_a_best_of_column_stands_beside_a_plain_one_with_the_rewards_of_both(page, server):
    server.backend.pace = 1.0
    vary(server)
    rows = await open_compare(page, server)
    await rows.nth(1).get_by_label("Best of").fill("4")
    await expect(rows.nth(1).get_by_label("Judge")).to_have_value("taste")
    await reward_by(page, "taste")
    await page.get_by_text("Worked examples, documents").click()
    await page.get_by_label("Seed of all columns").fill("5")
    await expect(rows.nth(1).get_by_label("Best of")).to_have_value("4")
    await compare(page, "what is the mood?")
    await expect(columns(page).nth(1)).to_contain_text(re.compile("Drawn [123] of 4"))
    plain, best = columns(page).nth(0), columns(page).nth(1)
    await expect(best.locator("header")).to_contain_text("best of 4 by taste")
    await expect(best.locator(".sb-answer")).to_have_text("mood: word1 word2 word3 word4")
    # Seeds 5 to 8 say 2, 3, 4 and 5 words.
    await expect(best.locator(".sb-figures").last).to_contain_text("14 (all 4 answers)")
    await best.get_by_text("The 4 answers drawn").click()
    await expect(best.locator(".sb-drawn li")).to_have_count(4)
    await expect(best.locator(".sb-drawn li").first).to_contain_text("mood: word1 word2 word3 word4")
    await expect(plain.locator(".sb-rewards")).to_contain_text("Reward by taste")
    await expect(plain.locator(".sb-rewards")).to_contain_text("Only differences between answers")
    await expect(best.locator(".sb-rewards")).to_contain_text("it is the best")

    await page.reload()
    await open_tab(page, "Compare")
    await expect(columns(page).nth(1).locator(".sb-rewards")).to_contain_text("it is the best")
    await page.locator("#compare-who").get_by_text("Who answers").first.click()
    await expect(page.locator("#compare-reward-by input")).to_have_value("taste")
    await expect(page.locator(".sb-contestant:visible").nth(1).get_by_label("Best of")).to_have_value("4")


async def test_before_the_vote_of_a_blind_comparison_neither_judge_nor_rewards_are_seen(page, server):
    vary(server)
    rows = await open_compare(page, server)
    await rows.nth(0).get_by_label("Best of").fill("3")
    await reward_by(page, "taste")
    await page.locator("#compare-blind input").check()
    await compare(page, "what is the mood?")
    await expect(page.get_by_role("button", name="A is better")).to_be_visible()
    for told in ("taste", "Reward", "best of", "drawn"):
        await expect(page.locator("#compare-columns")).not_to_contain_text(told)
    await page.get_by_role("button", name="A is better").click()
    await expect(columns(page).locator(".sb-rewards")).to_have_count(2)
    await expect(page.locator("#compare-columns")).to_contain_text("best of 3 by taste")


async def test_answers_that_stand_there_are_judged_once_a_judge_is_picked(page, server):
    await open_compare(page, server)
    await compare(page, "what is the mood?")
    await expect(page.get_by_role("button", name="A is better")).to_be_visible()
    await expect(page.locator(".sb-rewards")).to_have_count(0)
    await page.locator("#compare-who").get_by_text("Who answers").first.click()
    await reward_by(page, "taste")
    await expect(columns(page).locator(".sb-rewards")).to_have_count(2)
    # What is shown is kept: a vote does not take it away.
    await page.get_by_role("button", name="A is better").click()
    await expect(page.locator("#compare-vote-note")).to_contain_text("Your vote: A > B.")
    await expect(columns(page).locator(".sb-rewards")).to_have_count(2)


async def test_what_cannot_be_drawn_or_judged_is_said_and_nothing_is_asked(page, server):
    rows = await open_compare(page, server)
    await rows.nth(0).get_by_label("Best of").fill("99")
    await compare(page, "what is the mood?")
    await expect(page.get_by_text("Best of: '99' is not allowed (1 to 16 answers)")).to_be_visible()
    await rows.nth(0).get_by_label("Best of").fill("2")
    await rows.nth(0).get_by_label("Temperature").fill("0")
    await compare(page, "what is the mood?")
    await expect(page.get_by_text("temperature 0 gives one answer n times")).to_be_visible()
    assert server.backend.seen == []


async def test_a_set_of_questions_shows_the_rewards_of_its_answers(page, server):
    await open_compare(page, server)
    await reward_by(page, "taste")
    await page.get_by_role("tab", name="A set of questions").click()
    await page.locator("#batch-pasted textarea").fill("what is the mood?\nand now?")
    await page.locator("#start-batch").click()
    await expect(page.locator("#batch-averages th").filter(has_text="Reward")).to_be_visible()
    await expect(page.locator("#batch-rows tbody tr").first).to_contain_text("Reward")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save as JSON lines").click()
    path = await (await download.value).path()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [[column["reward"]["judge"] for column in row["columns"]] for row in rows] == [["taste"] * 2] * 2


async def test_an_answer_of_the_chat_has_a_reward_where_somebody_can_judge(page, server):
    await choose_adapter(page, "mood — sentiment")
    await ask_and_wait(page, "what is the mood?")
    await expect(answers(page).last.locator(".sb-rate-link")).to_have_count(1)
    write_reward(server.adapters / "taste")
    await ask_and_wait(page, "and now?")
    await answers(page).last.get_by_text("Reward", exact=True).click()
    drawer = page.locator("#reward-drawer")
    await expect(drawer.locator("#reward-told")).to_contain_text("Reward by taste")
    await expect(drawer).to_contain_text("and now?")
    await expect(drawer).to_contain_text("Only differences between answers to one question mean something.")
    await expect(drawer.locator("#reward-judge input")).to_have_value("taste")
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    server.backend.words = 3
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(answers(page).last).to_contain_text("mood: word1 word2")
    await expect(answers(page).last).not_to_contain_text("word3")
    await answers(page).last.get_by_text("Reward", exact=True).click()
    await expect(drawer.locator("#reward-told li")).to_contain_text("mood: word1 word2 word3 word4 word5")
